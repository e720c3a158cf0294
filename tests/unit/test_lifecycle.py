"""Starting and stopping a process (DESIGN.md, rule 12; RELIABILITY.md, I16)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from callboard.clock import ManualClock
from callboard.lifecycle import EXIT_DONE, EXIT_FAILED, StopSignal, Supervisor
from tests.support.processes import child
from tests.support.waiting import wait_until


def _noting(log: list[str], name: str) -> Callable[[StopSignal], Awaitable[None]]:
    async def run(stop: StopSignal) -> None:
        log.append(f"{name} starts")
        await stop.wait()
        log.append(f"{name} stops")

    return run


async def test_loops_start_in_order_and_stop_in_reverse() -> None:
    log: list[str] = []
    supervisor = Supervisor(ManualClock())
    for name in ("database", "pool", "gateway"):
        supervisor.add(name, _noting(log, name))
    supervisor.start()
    await wait_until(lambda: len(log) == 3, "all loops started")
    assert await supervisor.stop("test is over") == EXIT_DONE
    assert log == [
        *("database starts", "pool starts", "gateway starts"),
        *("gateway stops", "pool stops", "database stops"),
    ]
    assert supervisor.reason == "test is over"


async def test_what_others_lean_on_stays_until_they_are_done() -> None:
    release, log = asyncio.Event(), list[str]()

    async def pool(stop: StopSignal) -> None:
        await stop.wait()
        await release.wait()
        log.append("pool finished its work")

    supervisor = Supervisor(ManualClock())
    supervisor.add("database", _noting(log, "database"))
    supervisor.add("pool", pool)
    supervisor.start()
    stopping = asyncio.create_task(supervisor.stop("test"))
    await wait_until(lambda: log == ["database starts"], "the database runs")
    release.set()
    assert await stopping == EXIT_DONE
    assert log[1:] == ["pool finished its work", "database stops"]


async def test_a_loop_that_raises_stops_all_with_the_reason() -> None:
    log: list[str] = []

    async def dies(stop: StopSignal) -> None:
        await asyncio.sleep(0)
        raise LookupError("gone")

    supervisor = Supervisor(ManualClock())
    supervisor.add("pool", _noting(log, "pool"))
    supervisor.add("relay", dies)
    assert await supervisor.run() == EXIT_FAILED
    assert supervisor.reason == "loop 'relay' died: LookupError"
    assert log == ["pool starts", "pool stops"]


async def test_a_loop_that_ends_unasked_stops_all() -> None:
    async def ends(stop: StopSignal) -> None:
        return None

    supervisor = Supervisor(ManualClock())
    supervisor.add("relay", ends)
    assert await supervisor.run() == EXIT_FAILED
    assert supervisor.reason == "loop 'relay' ended by itself"


async def test_a_loop_that_fails_while_it_drains_makes_the_exit_a_failure() -> None:
    async def fails_late(stop: StopSignal) -> None:
        await stop.wait()
        raise OSError("disk full")

    supervisor = Supervisor(ManualClock())
    supervisor.add("pool", fails_late)
    supervisor.start()
    assert await supervisor.stop("SIGTERM") == EXIT_FAILED
    assert supervisor.reason == "SIGTERM"


async def test_I16_what_does_not_drain_in_its_time_is_cancelled() -> None:
    clock, log = ManualClock(), list[str]()

    async def slow(stop: StopSignal) -> None:
        await stop.wait()
        log.append(f"{stop.remaining_seconds():g} s left")
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cancelled")

    supervisor = Supervisor(clock, drain_seconds=30.0)
    supervisor.add("pool", slow)
    supervisor.start()
    stopping = asyncio.create_task(supervisor.stop("SIGTERM"))
    await wait_until(lambda: log == ["30 s left"], "the pool drains")
    await clock.advance(29.0)
    assert not stopping.done()
    await clock.advance(1.0)
    assert await stopping == EXIT_FAILED
    assert log == ["30 s left", "cancelled"]


async def test_forcing_cancels_without_waiting_for_the_drain() -> None:
    draining = asyncio.Event()

    async def slow(stop: StopSignal) -> None:
        await stop.wait()
        draining.set()
        await asyncio.Event().wait()

    supervisor = Supervisor(ManualClock())
    supervisor.add("pool", slow)
    supervisor.start()
    stopping = asyncio.create_task(supervisor.stop("SIGTERM"))
    await draining.wait()
    supervisor.force_stop()
    assert await stopping == EXIT_FAILED
    assert supervisor.reason == "SIGTERM"


async def test_the_supervisor_s_own_cancellation_takes_the_loops_with_it() -> None:
    log: list[str] = []
    supervisor = Supervisor(ManualClock())
    supervisor.add("pool", _noting(log, "pool"))
    supervisor.start()
    waiting = asyncio.create_task(supervisor.wait())
    await wait_until(lambda: log == ["pool starts"], "the loop runs")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_two_loops_of_one_name_are_refused() -> None:
    supervisor = Supervisor(ManualClock())
    supervisor.add("pool", _noting([], "pool"))
    with pytest.raises(ValueError, match="'pool'"):
        supervisor.add("pool", _noting([], "pool"))


_PROGRAM = """
import asyncio, sys, time
import uvloop
from callboard.clock import SystemClock
from callboard.lifecycle import Supervisor

kind, loop_kind, drain_seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])

async def work(stop):
    print("working", flush=True)
    await stop.wait()
    print("draining", flush=True)
    if kind == "polite":
        print("handed back", flush=True)
    elif kind == "slow":
        await asyncio.Event().wait()
    elif kind == "blocked":
        time.sleep(60)
    elif kind == "deaf":
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                print("ignored", flush=True)

async def main():
    supervisor = Supervisor(SystemClock(), drain_seconds=drain_seconds)
    supervisor.add("work", work)
    code = await supervisor.run()
    print("reason", supervisor.reason, flush=True)
    return code

factory = uvloop.new_event_loop if loop_kind == "uvloop" else asyncio.new_event_loop
with asyncio.Runner(loop_factory=factory) as runner:
    sys.exit(runner.run(main()))
"""

_LOOPS = pytest.mark.parametrize("loop_kind", ["asyncio", "uvloop"])


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "program.py"
    path.write_text(_PROGRAM)
    return str(path)


@pytest.mark.slow
@_LOOPS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_I16_the_first_signal_drains_and_exits_with_0(program: str, loop_kind: str, number: signal.Signals) -> None:
    with child(program, "polite", loop_kind, "30") as process:
        process.wait_for("working")
        process.send(number)
        assert process.exit_code() == EXIT_DONE
        assert "handed back" in process.lines
        assert f"reason {number.name}" in process.lines


@pytest.mark.slow
@_LOOPS
@pytest.mark.parametrize("kind", ["slow", "blocked", "deaf"])
def test_I16_the_second_signal_forces_whatever_the_loop_does(program: str, loop_kind: str, kind: str) -> None:
    with child(program, kind, loop_kind, "30") as process:
        process.wait_for("working")
        process.send(signal.SIGTERM)
        process.wait_for("draining")
        process.send(signal.SIGTERM)
        assert process.exit_code(within=30.0) == EXIT_FAILED


@pytest.mark.slow
@_LOOPS
def test_I16_a_task_that_ignores_its_cancellation_cannot_keep_the_process(program: str, loop_kind: str) -> None:
    with child(program, "deaf", loop_kind, "0.1") as process:
        process.wait_for("working")
        process.send(signal.SIGTERM)
        assert process.exit_code(within=30.0) == EXIT_FAILED
        assert "ignored" in process.lines
