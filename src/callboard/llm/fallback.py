"""A model and those that stand in for it, in order (issue: fallback per agent; RELIABILITY.md, G2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from callboard.clock import Clock
from callboard.llm.errors import (
    LLMAuthenticationError,
    LLMModelNotFoundError,
    LLMProviderError,
    LLMRateLimitError,
    LLMServiceUnavailableError,
    LLMUnavailableEverywhereError,
)
from callboard.llm.guarded import GuardedProvider
from callboard.llm.provider import LLMChunk, LLMRequest, LLMResponse, Message, PassedOver, ToolSpec
from callboard.llm.streaming import chunks_of
from callboard.logs import StructuredLogger

_TO_THE_NEXT = (LLMServiceUnavailableError, LLMRateLimitError, LLMAuthenticationError, LLMModelNotFoundError)
"""What another model may do better. An invalid request is not among them: it would be refused there too, or, worse,
be answered by a model that does not see what was wrong. A model that does not exist is: that says nothing about the
request, only that this entry of the list is of no use."""


@dataclass(frozen=True, slots=True)
class _Failure:
    model: str
    error: LLMProviderError
    at: float

    def told(self, now: float) -> PassedOver:
        return PassedOver(
            model=self.model, code=self.error.code, reason=self.error.message, seconds_before=now - self.at
        )


class FallbackProvider:
    """An `LLMProvider` over several. The answer says who gave it (`model`, and `metadata["fallback"]` counted from 0),
    and who did not (`passed_over`).

    - A model that is down, limited, refuses the key or does not exist is passed over; other errors are the answer.
    - A stream that broke after pieces were given out ends with its error; nobody else begins anew.
    - With no model left: LLMUnavailableEverywhereError, or LLMRateLimitError where only a limit is in the way, each
      with the time after which to come again; the first model's own error where waiting would not help.
    """

    def __init__(self, models: Sequence[GuardedProvider], clock: Clock) -> None:
        if not models:
            raise ValueError("a fallback needs at least one model")
        self._models = tuple(models)
        self._clock = clock
        self._log = StructuredLogger("provider-guard")

    async def complete(self, request: LLMRequest) -> LLMResponse:
        failures: list[_Failure] = []
        for number, model in enumerate(self._models):
            try:
                return self._named(await model.complete(request), number, failures)
            except _TO_THE_NEXT as error:
                self._passed_over(number, error)
                failures.append(_Failure(model.model, error, self._clock.monotonic()))
        raise self._nobody_left([failure.error for failure in failures])

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        failures: list[_Failure] = []
        for number, model in enumerate(self._models):
            begun = False
            try:
                async with chunks_of(model, request) as chunks:
                    async for chunk in chunks:
                        begun = True
                        if chunk.response is not None:
                            chunk = replace(chunk, response=self._named(chunk.response, number, failures))
                        yield chunk
            except _TO_THE_NEXT as error:
                if begun:
                    raise _again_later(model, error) from error
                self._passed_over(number, error)
                failures.append(_Failure(model.model, error, self._clock.monotonic()))
            else:
                return
        raise self._nobody_left([failure.error for failure in failures])

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """As the first model counts, which is the one that is asked as a rule."""
        return await self._models[0].count_tokens(messages)

    def estimate_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
        """The most that any of them would guess."""
        return max(model.estimate_tokens(messages, tools) for model in self._models)

    def get_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        """The price of the dearest: nobody knows before the call who answers it."""
        prices = [model.get_cost(input_tokens, output_tokens) for model in self._models]
        known = [price for price in prices if price is not None]
        return max(known) if len(known) == len(prices) else None

    async def close(self) -> None:
        for model in self._models:
            await model.close()

    def _passed_over(self, number: int, error: LLMProviderError) -> None:
        if number + 1 < len(self._models):
            self._log.warning(
                "a model is passed over",
                model=self._models[number].model,
                next=self._models[number + 1].model,
                code=error.code,
                reason=error.message,
            )

    def _named(self, response: LLMResponse, number: int, failures: Sequence[_Failure]) -> LLMResponse:
        metadata = {**response.metadata, "fallback": str(number)}
        if not failures:
            return replace(response, metadata=metadata)
        now = self._clock.monotonic()
        return replace(response, metadata=metadata, passed_over=tuple(failure.told(now) for failure in failures))

    def _nobody_left(self, failures: Sequence[LLMProviderError]) -> LLMProviderError:
        waits = [(_seconds(model, error), error) for model, error in zip(self._models, failures, strict=True)]
        passing = [(seconds, error) for seconds, error in waits if seconds is not None]
        if not passing:
            return failures[0]
        seconds, first = min(passing, key=lambda wait: wait[0])
        if isinstance(first, LLMRateLimitError):
            return LLMRateLimitError(first.message, retry_after=seconds)
        return LLMUnavailableEverywhereError("; ".join(error.message for error in failures), retry_after=seconds)


def _again_later(model: GuardedProvider, error: LLMProviderError) -> LLMProviderError:
    """A broken answer, with the time after which the caller may ask for a new one."""
    if not isinstance(error, LLMServiceUnavailableError):
        return error
    return LLMUnavailableEverywhereError(error.message, retry_after=model.seconds_until())


def _seconds(model: GuardedProvider, error: LLMProviderError) -> float | None:
    """When to ask this one again; None where a person has to act first."""
    match error:
        case LLMRateLimitError():
            return max(error.retry_after or 0.0, model.seconds_until())
        case LLMServiceUnavailableError():
            return model.seconds_until()
        case _:
            return None
