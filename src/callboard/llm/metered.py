"""A model whose calls are counted, each with how it ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from callboard.llm.errors import LLMProviderError
from callboard.llm.provider import LLMChunk, LLMConfig, LLMProvider, LLMRequest, LLMResponse, Message, ToolSpec
from callboard.llm.streaming import chunks_of


class ObserveCall(Protocol):
    """Told of every call that reached a provider; must return at once and not raise.

    `status` is `ok`, an error's code, `crash` for what no provider should raise, or `abandoned` where the caller did
    not wait for the end.
    """

    def __call__(self, *, provider: str, model: str, status: str) -> None: ...


class MeteredProvider:
    """An `LLMProvider`; changes nothing of what passes through."""

    def __init__(self, provider: LLMProvider, config: LLMConfig, observe: ObserveCall) -> None:
        self._provider = provider
        self._config = config
        self._observe = observe

    async def complete(self, request: LLMRequest) -> LLMResponse:
        status = "abandoned"
        try:
            response = await self._provider.complete(request)
            status = "ok"
        except Exception as error:  # whatever it is, it is counted and goes on
            status = _status(error)
            raise
        finally:
            self._ended(status)
        return response

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        status = "abandoned"
        try:
            async with chunks_of(self._provider, request) as chunks:
                async for chunk in chunks:
                    if chunk.response is not None:
                        status = "ok"
                    yield chunk
        except Exception as error:  # whatever it is, it is counted and goes on
            status = _status(error)
            raise
        finally:
            self._ended(status)

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return await self._provider.count_tokens(messages)

    def estimate_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
        return self._provider.estimate_tokens(messages, tools)

    def get_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        return self._provider.get_cost(input_tokens, output_tokens)

    async def close(self) -> None:
        await self._provider.close()

    def _ended(self, status: str) -> None:
        self._observe(provider=self._config.provider, model=self._config.model_id, status=status)


def _status(error: Exception) -> str:
    return error.code if isinstance(error, LLMProviderError) else "crash"
