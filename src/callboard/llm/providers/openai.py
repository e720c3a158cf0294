"""OpenAI, and every server that speaks its chat completions."""

from __future__ import annotations

from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider as Wire

from callboard.llm.pricing import PriceTable
from callboard.llm.provider import LLMConfig, LLMProvider
from callboard.llm.providers.connections import Connections
from callboard.llm.providers.failures import Failures
from callboard.llm.providers.kept_tools import KeptTools
from callboard.llm.providers.model_layer import ModelLayerProvider
from callboard.llm.providers.openai_client import openai_client

OWN_URL = "https://api.openai.com/v1"


class _Chat(KeptTools, OpenAIChatModel):
    """Chat completions."""


def make(
    config: LLMConfig, *, key: str | None, base_url: str, key_help: str, prices: PriceTable, shared: Connections
) -> LLMProvider:
    """Without a `key` a placeholder is sent; `key_help` is the way out when the server refuses either."""
    client = openai_client(key=key, base_url=base_url, timeout_seconds=config.timeout_seconds, http=shared.borrow())
    # A stream that ends without a finish reason was cut (RELIABILITY.md, finding 17). Other servers know `max_tokens`.
    profile = OpenAIModelProfile(
        openai_chat_streaming_requires_finish_reason=True,
        openai_chat_supports_max_completion_tokens=base_url.startswith(OWN_URL),
    )
    return ModelLayerProvider(
        config,
        _Chat(config.model_id, provider=Wire(openai_client=client), profile=profile),
        prices=prices,
        failures=Failures("openai", config.model_id, key_help=key_help, secrets=(key or "",), url=base_url),
        close=shared.give_back,
    )
