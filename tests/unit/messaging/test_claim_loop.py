"""The one loop behind every backlog: claims at most the free slots, looks again in time, stops cleanly (rule 4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from callboard.clock import ManualClock
from callboard.errors import FencedError, UnavailableError
from callboard.messaging.claim_loop import ClaimLoop, Slots
from callboard.messaging.wakeup import WakeUp


@dataclass(eq=False)
class Backlog:
    """Items to claim, each worked on until its gate is opened."""

    items: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    gates: dict[int, asyncio.Event] = field(default_factory=dict)
    done: list[int] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    hold: asyncio.Event | None = None
    reserve: int = 0

    async def claim(self, free: int) -> list[int]:
        self.asked.append(free)
        if self.errors:
            raise self.errors.pop(0)
        if self.hold is not None:
            await self.hold.wait()
        most = max(0, free - self.reserve)
        claimed, self.items = self.items[:most], self.items[most:]
        return claimed

    async def work(self, item: int) -> None:
        await self.gates.setdefault(item, asyncio.Event()).wait()
        if item < 0:
            raise RuntimeError("a defect")
        self.done.append(item)

    def open(self, *items: int) -> None:
        for item in items:
            self.gates.setdefault(item, asyncio.Event()).set()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@dataclass(eq=False)
class Bench:
    backlog: Backlog
    clock: ManualClock
    wake: WakeUp
    loop: ClaimLoop[int]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    backlog, clock, wake = Backlog(), ManualClock(), WakeUp()
    loop = ClaimLoop("bench", slots=Slots(total=3), wake=wake, claim=backlog.claim, work=backlog.work, clock=clock)
    yield Bench(backlog, clock, wake, loop)
    loop.stop()
    await loop.abort()


async def test_it_claims_no_more_than_its_free_slots(bench: Bench) -> None:
    bench.backlog.items = list(range(5))
    running = asyncio.ensure_future(bench.loop.run())
    await settled()
    assert (bench.loop.active, bench.backlog.asked) == (3, [3])
    bench.wake.set()
    await settled()
    assert bench.backlog.asked == [3]
    bench.backlog.open(0)
    await settled()
    assert bench.backlog.asked == [3, 1]
    assert bench.loop.active == 3
    bench.loop.stop()
    await running


async def test_it_looks_when_woken_and_once_a_second(bench: Bench) -> None:
    running = asyncio.ensure_future(bench.loop.run())
    await settled()
    assert len(bench.backlog.asked) == 1
    bench.wake.set()
    await settled()
    assert len(bench.backlog.asked) == 2
    await bench.clock.advance(1)
    await settled()
    assert len(bench.backlog.asked) == 3
    bench.loop.stop()
    await running


async def test_an_outage_is_waited_for_and_a_lost_lease_ends_the_loop(bench: Bench) -> None:
    bench.backlog.errors = [UnavailableError("away"), FencedError("declared dead")]
    running = asyncio.ensure_future(bench.loop.run())
    await settled()
    assert not running.done()
    await bench.clock.advance(1)
    with pytest.raises(FencedError):
        await asyncio.wait_for(running, 30)


async def test_a_defect_in_one_item_leaves_the_loop_running(bench: Bench) -> None:
    bench.backlog.items = [-1, 1]
    bench.backlog.open(-1, 1)
    running = asyncio.ensure_future(bench.loop.run())
    await settled()
    assert bench.backlog.done == [1]
    bench.loop.stop()
    await running


async def test_stopping_claims_nothing_more_and_drained_waits_for_what_is_under_way(bench: Bench) -> None:
    bench.backlog.items = list(range(4))
    running = asyncio.ensure_future(bench.loop.run())
    await settled()
    bench.loop.stop()
    drained = asyncio.ensure_future(bench.loop.drained())
    await settled()
    assert not drained.done()
    bench.backlog.open(0, 1, 2)
    await asyncio.wait_for(asyncio.gather(drained, running), 30)
    assert bench.backlog.items == [3]


async def test_drained_waits_for_a_claim_that_was_on_its_way_at_the_stop(bench: Bench) -> None:
    """What it brings belongs to this process: nobody else would work on it."""
    bench.backlog.items, bench.backlog.hold = [7], asyncio.Event()
    running = asyncio.ensure_future(bench.loop.run())
    await settled()
    bench.loop.stop()
    drained = asyncio.ensure_future(bench.loop.drained())
    await settled()
    assert not drained.done()
    bench.backlog.hold.set()
    await settled()
    assert not drained.done()
    bench.backlog.open(7)
    await asyncio.wait_for(asyncio.gather(drained, running), 30)
    assert bench.backlog.done == [7]


async def test_a_loop_that_never_ran_is_drained() -> None:
    backlog = Backlog()
    loop = ClaimLoop(
        "idle", slots=Slots(total=1), wake=WakeUp(), claim=backlog.claim, work=backlog.work, clock=ManualClock()
    )
    await asyncio.wait_for(loop.drained(), 30)


async def test_what_a_reserve_held_back_is_claimed_as_soon_as_a_slot_is_free() -> None:
    backlog, clock = Backlog(items=list(range(6)), reserve=1), ManualClock()
    loop = ClaimLoop(
        "batch", slots=Slots(total=3, reserve=1), wake=WakeUp(), claim=backlog.claim, work=backlog.work, clock=clock
    )
    running = asyncio.ensure_future(loop.run())
    await settled()
    assert loop.active == 2
    backlog.open(0)
    await settled()
    assert loop.active == 2
    assert clock.monotonic() == 0
    loop.stop()
    await loop.abort()
    await running


async def test_a_burst_is_taken_in_bites_so_that_other_processes_get_some_of_it() -> None:
    shared, clock = Backlog(items=list(range(30))), ManualClock()

    async def claim(free: int) -> list[int]:
        await asyncio.sleep(0)  # a store takes its time: the other comes in between
        return await shared.claim(free)

    loops = [
        ClaimLoop(
            "one", slots=Slots(total=50, most_at_once=5), wake=WakeUp(), claim=claim, work=shared.work, clock=clock
        )
        for _ in range(2)
    ]
    running = [asyncio.ensure_future(loop.run()) for loop in loops]
    await settled()
    assert [loop.active for loop in loops] == [15, 15]
    assert set(shared.asked) == {5}
    shared.open(*range(30))
    for loop in loops:
        loop.stop()
    await asyncio.gather(*running)
