"""A process keeps its lease by beating; declared dead, or with a loop that stands still, it ends itself (R13, R14)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from callboard.errors import FencedError, UnavailableError
from callboard.messaging.wakeup import WakeUp
from callboard.state.lease import EXIT_STALLED, ProcessLease
from callboard.state.process_store import ProcessStore
from callboard.state.processes import BeatReply
from tests.support.processes import child
from tests.support.sqlite_file import open_sqlite
from tests.support.state_house import TESS, StateHouse
from tests.support.waiting import wait_until

STALLS = """
import asyncio, time
from callboard.clock import SystemClock
from callboard.messaging.wakeup import WakeUp
from callboard.state import lease

lease.STALLED_SECONDS = 0.5

async def main():
    held = lease.ProcessLease(None, SystemClock(), "p", lambda ids: None, WakeUp())
    watching = asyncio.create_task(held.watch_loop())
    await asyncio.sleep(2)
    print("the loop turned", flush=True)
    time.sleep(60)

asyncio.run(main())
"""


class Outage(ProcessStore):
    away = False

    async def beat(self, process_id: str) -> BeatReply:
        if self.away:
            raise UnavailableError("the database is away")
        return await super().beat(process_id)


@dataclass(eq=False)
class Desk:
    house: StateHouse
    processes: Outage
    stopped: list[frozenset[str]] = field(default_factory=list)
    wake: WakeUp = field(default_factory=WakeUp)

    def __post_init__(self) -> None:
        self.lease = ProcessLease(self.processes, self.house.clock, "p1", self.stopped.append, self.wake)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_sqlite(tmp_path) as database:
        house = await StateHouse(database).open()
        yield Desk(house, Outage(database, house.announced, house.clock))


async def beats(house: StateHouse) -> int:
    return next(record.beat for record in await house.processes.alive() if record.id == "p1")


async def test_it_beats_every_five_seconds(desk: Desk) -> None:
    running = asyncio.ensure_future(desk.lease.run())
    for count in range(1, 4):

        async def reached(count: int = count) -> bool:
            return await beats(desk.house) == count

        await wait_until(reached, f"{count} beats")
        await desk.house.later(seconds=5)
    running.cancel()


async def test_a_process_that_was_declared_dead_ends(desk: Desk) -> None:
    running = asyncio.ensure_future(desk.lease.run())
    await wait_until(lambda: beats(desk.house), "the first beat")
    await desk.house.processes.declare_dead(["p1"])
    await desk.house.later(seconds=5)
    with pytest.raises(FencedError, match="declared dead"):
        await asyncio.wait_for(running, 30)


async def test_an_outage_ends_nobody_but_nothing_may_be_begun_meanwhile(desk: Desk) -> None:
    await desk.lease.beat()
    desk.processes.away = True
    await desk.house.later(seconds=14)
    await desk.lease.beat()
    assert desk.lease.may_start()
    await desk.house.later(seconds=1)
    await desk.lease.beat()
    assert not desk.lease.may_start()
    desk.processes.away = False
    await desk.lease.beat()
    assert desk.lease.may_start()


async def test_a_beat_tells_which_runs_somebody_wants_stopped(desk: Desk) -> None:
    run = await desk.house.start(process="p1")
    await desk.lease.beat()
    assert desk.stopped == []
    await desk.house.store.request_cancel(run.run_id, TESS)
    await desk.lease.beat()
    assert desk.stopped == [frozenset({run.run_id})]


@pytest.mark.slow
def test_a_process_whose_loop_stands_still_ends_itself() -> None:
    with child("-c", STALLS) as stalled:
        stalled.wait_for("the loop turned")
        assert stalled.exit_code(within=30) == EXIT_STALLED
        assert "event loop has not answered" in stalled.output
