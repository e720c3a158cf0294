"""From the model settings of an agent file to the configuration that a provider takes; pure."""

from __future__ import annotations

from callboard.config.llm_settings import LLMSettings, ModelSettings
from callboard.config.llm_settings import ScriptRule as RuleSettings
from callboard.llm.provider import LLMConfig
from callboard.llm.script import ScriptAsk, ScriptCall, ScriptRule


def model_config(settings: LLMSettings) -> LLMConfig:
    return _config(settings, tuple(_config(model, ()) for model in settings.fallback))


def _config(settings: ModelSettings, fallback: tuple[LLMConfig, ...]) -> LLMConfig:
    return LLMConfig(
        provider=settings.provider.value,
        model_id=settings.model_id,
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        base_url=settings.base_url,
        timeout_seconds=settings.timeout_seconds,
        script=tuple(_rule(rule) for rule in settings.script),
        fallback=fallback,
    )


def _rule(rule: RuleSettings) -> ScriptRule:
    return ScriptRule(
        when=rule.when,
        say=rule.say,
        ask=None if rule.ask is None else ScriptAsk(question=rule.ask.question, options=rule.ask.options),
        call=None if rule.call is None else ScriptCall(tool=rule.call.tool, args=rule.call.args),
        wait_seconds=rule.wait_seconds,
        error=None if rule.error is None else rule.error.value,
        retry_after_seconds=rule.retry_after_seconds,
    )
