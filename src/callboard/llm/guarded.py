"""A model behind its guard: asked only when it may be, and what came of it is told to all workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from callboard.clock import Clock
from callboard.llm.errors import (
    LLMAuthenticationError,
    LLMProviderError,
    LLMRateLimitError,
    LLMServiceUnavailableError,
)
from callboard.llm.guard_name import model_name, server_name
from callboard.llm.protection import Permit, Protection
from callboard.llm.provider import LLMChunk, LLMConfig, LLMProvider, LLMRequest, LLMResponse, Message, ToolSpec
from callboard.llm.streaming import chunks_of
from callboard.logs import StructuredLogger

REFUSED_SECONDS = 30.0
"""A key that was refused is not tried again sooner: providers lock out who insists."""


class GuardedProvider:
    """An `LLMProvider`; besides what the model raises, LLMHeldBackError and LLMRateLimitError before it is asked."""

    def __init__(self, provider: LLMProvider, config: LLMConfig, protection: Protection, clock: Clock) -> None:
        self.server = server_name(config)
        self.model = model_name(config)
        self._provider = provider
        self._config = config
        self._protection = protection
        self._clock = clock
        self._refused: tuple[LLMAuthenticationError, float] | None = None
        self._told = False
        self._log = StructuredLogger("provider-guard")

    async def complete(self, request: LLMRequest) -> LLMResponse:
        permit = await self._admit(request)
        try:
            response = await self._provider.complete(request)
        except LLMProviderError as error:
            await self._note(permit, error)
            raise
        except BaseException:  # a cancellation too: a probe that nobody ends would keep the others out
            await self._protection.abandoned(permit)
            raise
        await self._answered(permit, response)
        return response

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        permit = await self._admit(request)
        noted = False
        try:
            async with chunks_of(self._provider, request) as chunks:
                async for chunk in chunks:
                    if chunk.response is not None:
                        noted = True
                        await self._answered(permit, chunk.response)
                    yield chunk
        except LLMProviderError as error:
            noted = True
            await self._note(permit, error)
            raise
        finally:
            if not noted:  # given up half-way, by the caller or by cancellation
                await self._protection.abandoned(permit)

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return await self._provider.count_tokens(messages)

    def estimate_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
        return self._provider.estimate_tokens(messages, tools)

    def get_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        return self._provider.get_cost(input_tokens, output_tokens)

    async def close(self) -> None:
        await self._provider.close()

    def seconds_until(self) -> float:
        """When it makes sense to ask again, as far as is known here."""
        return self._protection.seconds_until(self.server, self.model)

    async def _admit(self, request: LLMRequest) -> Permit:
        if self._refused is not None and self._clock.monotonic() < self._refused[1]:
            raise LLMAuthenticationError(self._refused[0].message)
        return await self._protection.admit(
            self.server,
            self.model,
            limits=self._protection.limits(self._config.provider),
            tokens=lambda: self._provider.estimate_tokens(request.messages, request.tools) + self._config.max_tokens,
            call_seconds=self._config.timeout_seconds,
        )

    async def _answered(self, permit: Permit, response: LLMResponse) -> None:
        self._refused, self._told = None, False
        limits = self._protection.limits(self._config.provider)
        await self._protection.answered(permit, limits, response.input_tokens + response.output_tokens)

    async def _note(self, permit: Permit, error: LLMProviderError) -> None:
        match error:
            case LLMRateLimitError():
                await self._protection.rate_limited(permit, error.retry_after, error.message)
            case LLMServiceUnavailableError():
                await self._protection.failed(permit, error.message, error.retry_after)
            case LLMAuthenticationError():
                self._refused = (error, self._clock.monotonic() + REFUSED_SECONDS)
                if not self._told:
                    self._told = True
                    self._log.error("a model provider refuses the key", model=self.model, reason=error.message)
                await self._protection.answered(permit)
            case _:
                await self._protection.answered(permit)
