"""Models whose behaviour a test changes while they are asked, and a place that several workers share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.llm.circuit_breaker import BreakerSettings
from callboard.llm.errors import LLMProviderError
from callboard.llm.guard_board import PATIENCE_SECONDS
from callboard.llm.guard_states import GuardState, GuardStates
from callboard.llm.guarded import GuardedProvider
from callboard.llm.protection import NoteClosed, Protection
from callboard.llm.provider import LLMChunk, LLMConfig, LLMRequest, LLMResponse, Message, ToolSpec

T = TypeVar("T")
HELLO = LLMRequest(messages=(Message(role="user", content="hello"),))


@dataclass(eq=False)
class ModelInHand:
    """Answers with its name, or fails as the test says; `hold` keeps its calls until it is set."""

    name: str
    error: LLMProviderError | None = None
    pieces: tuple[str, ...] = ("one ", "two")
    breaks_after: int | None = None
    hold: asyncio.Event | None = None
    calls: int = 0
    streams_ended: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def complete(self, request: LLMRequest) -> LLMResponse:
        await self._begin()
        return self._response("".join(self.pieces))

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        error, self.error = self.error, None if self.breaks_after is not None else self.error
        await self._begin()
        try:
            for number, piece in enumerate(self.pieces):
                if self.breaks_after == number and error is not None:
                    self.error = error
                    raise error
                yield LLMChunk(text=piece)
            yield LLMChunk(response=self._response("".join(self.pieces)))
        finally:
            self.streams_ended += 1

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        return self.estimate_tokens(messages)

    def estimate_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
        return sum(len(message.content) for message in messages)

    def get_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        return 0.0

    async def close(self) -> None:
        """Holds nothing."""

    async def _begin(self) -> None:
        self.calls += 1
        self.asked.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error

    def _response(self, text: str) -> LLMResponse:
        return LLMResponse(
            content=text, model=self.name, input_tokens=5, output_tokens=5, finish_reason="stop", cost_usd=0.0
        )


@dataclass(eq=False)
class SharedInMemory:
    """`GuardStates` of workers in one process; `away` is an outage."""

    clock: Clock
    states: dict[str, GuardState] = field(default_factory=dict)
    away: bool = False
    loads: int = 0
    changes: int = 0

    async def load(self) -> Mapping[str, GuardState]:
        self.loads += 1
        self._reach()
        return dict(self.states)

    async def change(self, name: str, decide: Callable[[GuardState], tuple[GuardState, T]]) -> tuple[GuardState, T]:
        self.changes += 1
        self._reach()
        before = self.states.get(name, GuardState())
        after, result = decide(before)
        if after != before:
            after = self.states[name] = replace(after, updated_at=self.clock.now())
        return after, result

    def _reach(self) -> None:
        if self.away:
            raise UnavailableError("the database is away")


async def _nobody(name: str) -> None:
    del name


def worker(
    states: GuardStates,
    clock: Clock,
    *,
    closed: NoteClosed = _nobody,
    settings: BreakerSettings | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Protection:
    """The protection of one process; its jitter is nothing."""
    return Protection(states, clock, lambda: 0.0, closed=closed, settings=settings, patience_seconds=patience_seconds)


def guarded(
    model: ModelInHand, protection: Protection, clock: Clock, *, provider: str = "openai", timeout: float = 120.0
) -> GuardedProvider:
    """The model behind its guard, at a server of its own name."""
    config = LLMConfig(
        provider=provider,
        model_id=model.name,
        base_url=f"http://{model.name}.example/v1",
        timeout_seconds=timeout,
        max_tokens=100,
    )
    return GuardedProvider(model, config, protection, clock)
