"""`llm_config`: which model an agent uses, and the rules of the scripted one."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Self

from pydantic import Field, JsonValue, ValidationInfo, field_validator, model_validator

from callboard.config.record import Number, Record, Whole
from callboard.config.refusal import refuse
from callboard.config.secrets import REFERENCE

SCRIPTED_MODELS = ("echo", "script")


class Provider(StrEnum):
    """Who answers; `scripted` is part of Callboard and needs no network."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    BEDROCK = "bedrock"
    OLLAMA = "ollama"
    SCRIPTED = "scripted"


class ScriptedError(StrEnum):
    """The failures a rule can play; `crash` is an exception nobody expects."""

    RATE_LIMIT = "rate_limit"
    SERVICE_UNAVAILABLE = "service_unavailable"
    AUTHENTICATION = "authentication"
    INVALID_REQUEST = "invalid_request"
    CRASH = "crash"


class ScriptQuestion(Record):
    """A question to a person; with options it is a choice."""

    question: str = Field(min_length=1)
    options: tuple[str, ...] = ()


class ScriptCall(Record):
    """A tool call."""

    tool: str = Field(min_length=1)
    args: dict[str, JsonValue] = Field(default_factory=dict)


class ScriptRule(Record):
    """One rule of the scripted model; the first whose `when` is found in the last message acts.

    In order: wait, fail, ask, call, say. `say` may use {input}, {turn}, {answer} and {result}.
    """

    when: str | None = None
    say: str | None = None
    ask: ScriptQuestion | None = None
    call: ScriptCall | None = None
    wait_seconds: Number = Field(default=0.0, ge=0, le=86_400)
    error: ScriptedError | None = None
    retry_after_seconds: Number | None = Field(default=None, ge=0)

    @field_validator("when")
    @classmethod
    def _regular_expression(cls, when: str | None) -> str | None:
        if when is not None:
            try:
                re.compile(when)
            except re.error as error:
                raise refuse(
                    f"'{when}' is no regular expression: {error}", "put a \\ before each sign that is meant literally"
                ) from None
        return when

    @field_validator("retry_after_seconds")
    @classmethod
    def _only_with_rate_limit(cls, seconds: float | None, info: ValidationInfo) -> float | None:
        if seconds is not None and info.data.get("error", ScriptedError.RATE_LIMIT) != ScriptedError.RATE_LIMIT:
            raise refuse("retry_after_seconds belongs to error: rate_limit", "remove it")
        return seconds

    @model_validator(mode="after")
    def _acts(self) -> Self:
        if self.say is None and not (self.ask or self.call or self.error or self.wait_seconds):
            raise refuse("this rule does nothing", "give it say, ask, call, wait_seconds or error")
        return self


class ModelSettings(Record):
    """One model at one provider."""

    provider: Provider
    model_id: str = Field(min_length=1, max_length=200)
    temperature: Number | None = Field(default=None, ge=0, le=2)
    max_tokens: Whole = Field(default=1024, ge=1, le=1_000_000)
    base_url: str | None = None
    script: tuple[ScriptRule, ...] = Field(default=(), validate_default=True)

    @field_validator("model_id")
    @classmethod
    def _scripted_model(cls, model_id: str, info: ValidationInfo) -> str:
        if info.data.get("provider") == Provider.SCRIPTED and model_id not in SCRIPTED_MODELS:
            raise refuse(f"the scripted provider has no model '{model_id}'", "write echo or script")
        return model_id

    @field_validator("base_url")
    @classmethod
    def _url(cls, url: str | None) -> str | None:
        if url is not None and not (url.startswith(("http://", "https://")) or REFERENCE.match(url)):
            raise refuse(f"'{url}' is no URL of a server", "write http://… or https://… or ${env:NAME}")
        return url

    @field_validator("script")
    @classmethod
    def _rules_where_they_act(cls, script: tuple[ScriptRule, ...], info: ValidationInfo) -> tuple[ScriptRule, ...]:
        provider, model_id = info.data.get("provider"), info.data.get("model_id")
        if provider is None or model_id is None:
            return script
        scripted = provider == Provider.SCRIPTED and model_id == "script"
        if script and not scripted:
            raise refuse("rules act only with provider: scripted and model_id: script", "remove script")
        if scripted and not script:
            raise refuse("model_id: script has no rules", 'add script: [{say: "…"}]')
        return script


class LLMSettings(ModelSettings):
    """The model an agent uses, and which ones to try in this order when it cannot be had."""

    fallback: tuple[ModelSettings, ...] = ()
