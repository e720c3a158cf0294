"""Anthropic, and every server that speaks its messages."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import httpx2
from anthropic import AsyncAnthropic
from anthropic.resources.messages.messages import DEPRECATED_MODELS
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider as Wire

from callboard.llm.pricing import PriceTable
from callboard.llm.provider import LLMConfig, LLMProvider, Message
from callboard.llm.providers.connections import CONNECT_SECONDS, Connections
from callboard.llm.providers.failures import Failures
from callboard.llm.providers.model_layer import ModelLayerProvider
from callboard.logs import StructuredLogger

OWN_URL = "https://api.anthropic.com"
PLACEHOLDER_KEY = "no-key"
"""What a server that asks for no key is sent: the SDK insists on one."""
COUNT_SECONDS = 10.0
"""Counting is a courtesy: after that long the estimate is used."""


def make(
    config: LLMConfig, *, key: str | None, base_url: str, key_help: str, prices: PriceTable, shared: Connections
) -> LLMProvider:
    """Without a `key` a placeholder is sent; `key_help` is the way out when the server refuses either."""
    if config.model_id in DEPRECATED_MODELS:
        log = StructuredLogger("anthropic")
        log.warning("the model is being retired", model=config.model_id, ends=DEPRECATED_MODELS[config.model_id])
    sent = key or PLACEHOLDER_KEY
    client = AsyncAnthropic(
        api_key=sent,
        base_url=base_url,
        max_retries=0,
        timeout=httpx2.Timeout(config.timeout_seconds, connect=min(CONNECT_SECONDS, config.timeout_seconds)),
        # Compatible servers know only the older header (RELIABILITY.md, finding 18).
        default_headers=None if base_url.startswith(OWN_URL) else {"X-Api-Key": sent},
        http_client=shared.borrow(),
    )
    return _Anthropic(
        config,
        AnthropicModel(config.model_id, provider=Wire(anthropic_client=client)),
        prices=prices,
        failures=Failures("anthropic", config.model_id, key_help=key_help, secrets=(key or "",), url=base_url),
        close=shared.give_back,
        ready=_once_is_enough,
    )


async def _once_is_enough() -> None:
    """The SDK warns with each call that a model is being retired, and fails where warnings are errors."""
    warnings.filterwarnings("ignore", message="The model '.*' is deprecated", category=DeprecationWarning)


class _Anthropic(ModelLayerProvider):
    async def count_tokens(self, messages: Sequence[Message]) -> int:
        await _once_is_enough()
        try:
            counted = await self.counted_by_the_server(messages, within_seconds=COUNT_SECONDS)
        except (AgentRunError, UserError, TimeoutError, httpx2.HTTPError, ValueError):
            return self.estimate_tokens(messages)
        return counted or self.estimate_tokens(messages)
