"""What several workers know together of a provider, over every database: one breaker, one cooldown, one bucket."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from callboard.agents.shared_guards import SharedGuards
from callboard.clock import ManualClock
from callboard.llm.errors import (
    LLMHeldBackError,
    LLMProviderError,
    LLMRateLimitError,
    LLMServiceUnavailableError,
)
from callboard.llm.guarded import GuardedProvider
from callboard.llm.protection import Protection
from callboard.llm.provider import LLMResponse
from callboard.llm.rate_limiter import RateLimits
from callboard.state.provider_state_store import ProviderStateStore
from callboard.state.provider_states import ProviderState
from tests.support.databases import AnyDatabase
from tests.support.guarded_models import HELLO, ModelInHand, guarded, worker
from tests.support.waiting import wait_until

DOWN = LLMServiceUnavailableError("503")
PATIENCE_SECONDS = 30.0
"""These workers wait until the database has answered: one that does not in half a second decides alone, and on a busy
machine a database is that slow."""


class WatchedClock(ManualClock):
    """Knows how many wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0

    async def sleep(self, seconds: float) -> None:
        self.waiting += 1
        try:
            await super().sleep(seconds)
        finally:
            self.waiting -= 1


@dataclass(eq=False)
class Workers:
    """Processes with a guard each before one model; their clocks are one, as the database's is."""

    database: AnyDatabase
    clock: WatchedClock = field(default_factory=WatchedClock)
    model: ModelInHand = field(default_factory=lambda: ModelInHand("claude"))

    def __post_init__(self) -> None:
        self.store = ProviderStateStore(self.database, self.clock)

    def protection(self) -> Protection:
        return worker(SharedGuards(self.store), self.clock, patience_seconds=PATIENCE_SECONDS)

    def one(self, limits: RateLimits | None = None) -> GuardedProvider:
        protection = self.protection()
        if limits is not None:
            protection.set_limits({"openai": limits})
        return guarded(self.model, protection, self.clock)

    async def opened_by(self, model: GuardedProvider) -> None:
        self.model.error = DOWN
        for _ in range(5):
            with pytest.raises(LLMServiceUnavailableError):
                await model.complete(HELLO)


@pytest.fixture
def workers(database: AnyDatabase) -> Workers:
    return Workers(database)


async def outcomes(models: list[GuardedProvider]) -> list[LLMResponse | BaseException]:
    return await asyncio.gather(*(model.complete(HELLO) for model in models), return_exceptions=True)


async def test_a_state_is_kept_with_all_its_times_and_changed_by_one_at_a_time(workers: Workers) -> None:
    now = workers.clock.now()

    def count(before: ProviderState) -> tuple[ProviderState, int]:
        return replace(before, failures=before.failures + 1, open_until=now, allowance=1.5), before.failures

    seen = await asyncio.gather(*(workers.store.change("openai", count) for _ in range(20)))
    assert sorted(result for _, result in seen) == list(range(20))
    (state,) = await workers.store.load()
    assert (state.failures, state.open_until, state.allowance, state.updated_at) == (20, now, 1.5, now)


async def test_a_state_that_stays_as_it_is_is_not_written(workers: Workers) -> None:
    await workers.store.change("openai", lambda before: (before, None))
    assert await workers.store.load() == []


async def test_G2_what_one_worker_has_found_out_another_knows_within_a_second(workers: Workers) -> None:
    first, second = workers.one(), workers.one()
    await second.complete(HELLO)  # and has its copy
    await workers.opened_by(first)
    asked = workers.model.calls
    await workers.clock.advance(1)
    with pytest.raises(LLMHeldBackError, match="503"):
        await second.complete(HELLO)
    assert workers.model.calls == asked


async def test_G2_failures_are_counted_over_all_workers(workers: Workers) -> None:
    workers.model.error = DOWN
    models = [workers.one() for _ in range(5)]
    for model in models:
        with pytest.raises(LLMServiceUnavailableError):
            await model.complete(HELLO)
    with pytest.raises(LLMHeldBackError):
        await workers.one().complete(HELLO)


async def test_G2_exactly_one_of_ten_workers_looks_whether_the_provider_is_back(workers: Workers) -> None:
    models = [workers.one() for _ in range(10)]
    await workers.opened_by(models[0])
    asked = workers.model.calls
    await workers.clock.advance(11)
    workers.model.error, workers.model.hold = None, asyncio.Event()
    workers.model.asked.clear()
    calls = [asyncio.ensure_future(model.complete(HELLO)) for model in models for _ in range(3)]
    await workers.model.asked.wait()
    await wait_until(lambda: sum(call.done() for call in calls) == 29, "all but one are held back")
    done = [call for call in calls if call.done()]
    pending = [call for call in calls if not call.done()]
    assert all(isinstance(call.exception(), LLMHeldBackError) for call in done)
    assert workers.model.calls == asked + 1
    workers.model.hold.set()
    await asyncio.gather(*pending)

    await workers.clock.advance(1)
    assert all(isinstance(outcome, LLMResponse) for outcome in await outcomes(models))


async def test_G2_a_probe_that_fails_leaves_the_provider_alone_for_twice_as_long(workers: Workers) -> None:
    first, second = workers.one(), workers.one()
    await workers.opened_by(first)
    await workers.clock.advance(11)
    with pytest.raises(LLMServiceUnavailableError):
        await second.complete(HELLO)
    asked = workers.model.calls
    for _ in range(18):
        await workers.clock.advance(1)
        for model in (first, second):
            with pytest.raises(LLMHeldBackError):
                await model.complete(HELLO)
    assert workers.model.calls == asked


async def test_G2_the_probe_of_a_worker_that_was_killed_is_taken_up_by_another(workers: Workers) -> None:
    first, second = workers.one(), workers.one()
    await workers.opened_by(first)
    await workers.clock.advance(11)
    workers.model.error, workers.model.hold = None, asyncio.Event()
    workers.model.asked.clear()
    dead = asyncio.ensure_future(first.complete(HELLO))
    await workers.model.asked.wait()
    await workers.clock.advance(125)  # the call's own time and a margin are not over yet
    with pytest.raises(LLMHeldBackError):
        await second.complete(HELLO)
    await workers.clock.advance(6)
    workers.model.hold = None
    assert (await second.complete(HELLO)).model == "claude"
    dead.cancel()
    await asyncio.gather(dead, return_exceptions=True)


async def test_a_retry_after_that_one_worker_saw_holds_for_all(workers: Workers) -> None:
    first, second = workers.one(), workers.one()
    workers.model.error = LLMRateLimitError("429", retry_after=20.0)
    with pytest.raises(LLMRateLimitError):
        await first.complete(HELLO)
    workers.model.error = None
    with pytest.raises(LLMRateLimitError) as told:
        await second.complete(HELLO)
    assert told.value.retry_after == 20.0
    await workers.clock.advance(21)
    assert (await second.complete(HELLO)).model == "claude"


@pytest.mark.slow
async def test_ten_workers_together_stay_below_what_the_provider_allows_in_a_minute(workers: Workers) -> None:
    models = [workers.one(RateLimits(requests_per_minute=40)) for _ in range(10)]
    times: list[float] = []

    async def work(model: GuardedProvider) -> None:
        for _ in range(20):
            try:
                await model.complete(HELLO)
            except LLMProviderError as error:
                await workers.clock.sleep(getattr(error, "retry_after", None) or 1.0)
            else:
                times.append(workers.clock.monotonic())

    tasks = [asyncio.ensure_future(work(model)) for model in models]
    while workers.clock.monotonic() < 150:
        # The databases answer in real time: the clock stands until each worker waits for nothing else.
        await wait_until(lambda: workers.clock.waiting == sum(not task.done() for task in tasks), "all wait for time")
        await workers.clock.advance(0.5)
    for task in tasks:
        task.cancel()
    ends: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends)
    assert len(times) >= 50
    busiest = max(sum(begin <= at < begin + 60 for at in times) for begin in times)
    assert busiest <= 40
