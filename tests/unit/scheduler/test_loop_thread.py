"""A loop beside synchronous code, and how a worker's processes are heard."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import pytest

from callboard.clock import SystemClock
from callboard.errors import UnavailableError
from callboard.lifecycle import StopSignal
from callboard.scheduler.loop_thread import LoopThread
from callboard.scheduler.worker_lines import PULSE, WorkerLines, largest_message


async def opens(ready: Callable[[str], None], stop: StopSignal) -> None:
    ready("opened")
    await stop.wait()


def test_work_runs_on_the_loop_with_what_was_opened_there() -> None:
    died = threading.Event()
    thread = LoopThread("beside", opens, SystemClock(), died=died.set)
    thread.start()

    async def work(opened: str) -> tuple[str, str]:
        return opened, threading.current_thread().name

    assert thread.call(work, open_seconds=5, seconds=5) == ("opened", "beside")
    assert thread.stop(5)
    assert not died.is_set()


def test_what_the_work_raises_reaches_the_caller_and_the_loop_goes_on() -> None:
    thread = LoopThread("beside", opens, SystemClock(), died=lambda: None)
    thread.start()

    async def fails(_: str) -> None:
        raise UnavailableError("away")

    async def works(_: str) -> int:
        return 7

    with pytest.raises(UnavailableError, match="away"):
        thread.call(fails, open_seconds=5, seconds=5)
    assert thread.call(works, open_seconds=5, seconds=5) == 7
    assert thread.stop(5)


def test_work_that_takes_too_long_is_cancelled() -> None:
    thread = LoopThread("beside", opens, SystemClock(), died=lambda: None)
    thread.start()
    cancelled = threading.Event()

    async def endless(_: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        thread.call(endless, open_seconds=5, seconds=0.05)
    assert cancelled.wait(5)
    assert thread.stop(5)


def test_what_is_not_open_yet_is_unavailable() -> None:
    async def never(ready: Callable[[str], None], stop: StopSignal) -> None:
        await stop.wait()

    thread = LoopThread("beside", never, SystemClock(), died=lambda: None)
    thread.start()

    async def work(_: str) -> None: ...

    with pytest.raises(UnavailableError, match="not open"):
        thread.call(work, open_seconds=0.01, seconds=1)
    assert thread.stop(5)


def test_a_loop_that_dies_is_told_of() -> None:
    async def dies(ready: Callable[[str], None], stop: StopSignal) -> None:
        raise RuntimeError("gone")

    died = threading.Event()
    LoopThread("beside", dies, SystemClock(), died=died.set).start()
    assert died.wait(5)


def test_each_line_arrives_whole_however_many_write_at_once() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    size = largest_message(ours)
    lines = WorkerLines(theirs.detach())
    writers = [
        threading.Thread(target=lambda letter=letter: lines.write(f"{letter * 20_000}\n" * 10)) for letter in "abcd"
    ]
    for writer in writers:
        writer.start()
    heard = [ours.recv(size) for _ in range(40)]
    for writer in writers:
        writer.join()
    assert {len(message) for message in heard} == {20_001}
    assert all(len(set(message)) == 2 for message in heard)
    lines.pulse()
    assert ours.recv(size) == PULSE
    ours.close()
    lines.pulse()
    lines.close_line()
