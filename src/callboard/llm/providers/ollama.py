"""Ollama: models on a machine of one's own, asked through its endpoint for chat completions."""

from __future__ import annotations

import asyncio

import httpx2
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.profiles import merge_profile
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.ollama import OllamaProvider as Wire

from callboard.llm.errors import LLMServiceUnavailableError
from callboard.llm.pricing import PriceTable
from callboard.llm.provider import LLMConfig, LLMProvider
from callboard.llm.providers.connections import Connections
from callboard.llm.providers.failures import Failures
from callboard.llm.providers.kept_tools import KeptTools
from callboard.llm.providers.model_layer import ModelLayerProvider
from callboard.llm.providers.openai_client import openai_client

LOOK_SECONDS = 2.0
"""A server on the same network answers within that or is not there."""
SEEN_SECONDS = 30.0
"""So long it counts as there."""


class _Chat(KeptTools, OllamaModel):
    """Ollama's own settings over chat completions."""


def make(config: LLMConfig, *, server_url: str, prices: PriceTable, shared: Connections) -> LLMProvider:
    """`server_url` is the root, without /v1."""
    http = shared.borrow()
    client = openai_client(key=None, base_url=f"{server_url}/v1", timeout_seconds=config.timeout_seconds, http=http)
    wire = Wire(openai_client=client)
    strict = OpenAIModelProfile(
        openai_chat_streaming_requires_finish_reason=True, openai_chat_supports_max_completion_tokens=False
    )
    return ModelLayerProvider(
        config,
        _Chat(config.model_id, provider=wire, profile=merge_profile(wire.model_profile(config.model_id), strict)),
        prices=prices,
        failures=Failures(
            "ollama",
            config.model_id,
            key_help="see that OLLAMA_HOST is a server that asks for no key",
            url=server_url,
        ),
        close=shared.give_back,
        ready=_Presence(server_url, http).check,
    )


class _Presence:
    """Whether the server is there, asked at most once in `SEEN_SECONDS`."""

    def __init__(self, server_url: str, http: httpx2.AsyncClient) -> None:
        self._url = server_url
        self._http = http
        self._seen_until = 0.0

    async def check(self) -> None:
        """Raises LLMServiceUnavailableError with the way out; any answer counts, whatever it says."""
        now = asyncio.get_running_loop().time()
        if now < self._seen_until:
            return
        try:
            await self._http.get(f"{self._url}/api/version", timeout=LOOK_SECONDS)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise LLMServiceUnavailableError(
                f"Ollama is not there at {self._url} ({type(error).__name__}): start it with `ollama serve`, or set "
                f"OLLAMA_HOST to where it runs"
            ) from None
        self._seen_until = now + SEEN_SECONDS
