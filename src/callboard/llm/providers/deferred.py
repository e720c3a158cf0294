"""A provider whose libraries are loaded with its first call, beside the event loop: they take a second or two."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from types import ModuleType
from typing import cast

from callboard.llm.pricing import PriceTable
from callboard.llm.provider import LLMChunk, LLMConfig, LLMProvider, LLMRequest, LLMResponse, Message, ToolSpec
from callboard.llm.tokens import estimate_tokens

Make = Callable[[ModuleType], LLMProvider]
"""Makes the provider with its adapter's module, quickly and without I/O."""


class DeferredProvider:
    """Stands for the provider that `make` builds from the module `adapter`; what needs no server needs no library."""

    def __init__(self, config: LLMConfig, adapter: str, make: Make, prices: PriceTable) -> None:
        self._config = config
        self._adapter = adapter
        self._make = make
        self._prices = prices
        self._made: LLMProvider | None = None
        self._loading = asyncio.Lock()

    async def complete(self, request: LLMRequest) -> LLMResponse:
        return await (self._made or await self._loaded()).complete(request)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        chunks = (self._made or await self._loaded()).stream(request)
        async with contextlib.aclosing(cast("AsyncGenerator[LLMChunk, None]", chunks)):
            async for chunk in chunks:
                yield chunk

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return await (self._made or await self._loaded()).count_tokens(messages)

    def estimate_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
        return estimate_tokens(messages, tools)

    def get_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        return self._prices.cost(
            self._config.provider, self._config.model_id, input_tokens=input_tokens, output_tokens=output_tokens
        )

    async def close(self) -> None:
        if self._made is not None:
            await self._made.close()

    async def _loaded(self) -> LLMProvider:
        async with self._loading:
            if self._made is None:
                self._made = self._make(await asyncio.to_thread(importlib.import_module, self._adapter))
            return self._made
