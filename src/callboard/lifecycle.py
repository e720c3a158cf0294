"""Starting, supervising and stopping the loops of a process (DESIGN.md, rule 12; RELIABILITY.md, I16)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from types import FrameType

from callboard.clock import Clock
from callboard.logs import StructuredLogger

EXIT_DONE = 0
EXIT_FAILED = 1
_CANCEL_SECONDS = 1.0
_KILL_SECONDS = 2.0


class StopSignal:
    """Tells one loop that it should take no new work, finish or hand back what it has, and return."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked = asyncio.Event()
        self._deadline: float | None = None

    def is_set(self) -> bool:
        """Whether stopping has been asked for."""
        return self._asked.is_set()

    async def wait(self) -> None:
        """Return when stopping is asked for."""
        await self._asked.wait()

    def remaining_seconds(self) -> float | None:
        """How long the loop may still take before it is cancelled; None while nobody asked it to stop."""
        return None if self._deadline is None else max(0.0, self._deadline - self._clock.monotonic())

    def ask(self, deadline: float) -> None:
        """Ask the loop to stop by then (on the monotonic clock)."""
        self._deadline = deadline
        self._asked.set()


Loop = Callable[[StopSignal], Awaitable[None]]
"""Runs until its signal is set; returning earlier, like raising, means that it died."""


@dataclass(frozen=True, slots=True)
class _Running:
    name: str
    stop: StopSignal
    task: asyncio.Task[None]


class Supervisor:
    """Runs named loops together: one that dies ends all, with a reason.

    Loops start in the order in which they were added and are stopped one after the other in reverse, so what others
    lean on goes last; all share one time to drain, after which the rest is cancelled. `run` also reacts to SIGTERM and
    SIGINT: the first drains, the second cancels at once. Where even that does not end the process within two seconds
    (a blocked event loop, a task that ignores its cancellation), `kill` does.
    """

    def __init__(self, clock: Clock, *, drain_seconds: float = 30.0, kill: Callable[[int], None] = os._exit) -> None:
        self._clock = clock
        self._drain_seconds = drain_seconds
        self._kill = kill
        self._log = StructuredLogger("lifecycle")
        self._added: list[tuple[str, Loop]] = []
        self._running: list[_Running] = []
        self._stopping = asyncio.Event()
        self._forced = asyncio.Event()
        self._failed = False
        self.reason: str | None = None

    def add(self, name: str, loop: Loop) -> None:
        """Have this loop run; a ValueError when the name is taken."""
        if any(name == known for known, _ in self._added):
            raise ValueError(f"a loop named {name!r} was added already")
        self._added.append((name, loop))

    def request_stop(self, reason: str) -> None:
        """Begin to drain; only the first reason counts. Call it from the event loop's thread."""
        if not self._stopping.is_set():
            self.reason = reason
            self._log.info("stopping", reason=reason)
            self._stopping.set()

    def force_stop(self) -> None:
        """Cancel everything now."""
        self.request_stop("forced")
        self._failed = True
        self._forced.set()

    async def run(self) -> int:
        """Start all loops, wait for a signal or a death, stop them; the exit code: 0 when all drained."""
        with self._signals(asyncio.get_running_loop()):
            self.start()
            return await self.wait()

    def start(self) -> None:
        """Start all loops, in order, without a reaction to signals."""
        for name, loop in self._added:
            stop = StopSignal(self._clock)
            task = asyncio.get_running_loop().create_task(_run_loop(loop, stop), name=name)
            self._running.append(_Running(name, stop, task))
            task.add_done_callback(self._note_end)

    async def wait(self) -> int:
        """Wait until stopping is asked for or a loop dies, then stop all; the exit code."""
        try:
            await self._stopping.wait()
            await self._drain()
        finally:
            await self._cancel_rest()
        return EXIT_FAILED if self._failed else EXIT_DONE

    async def stop(self, reason: str) -> int:
        """`request_stop` and `wait`."""
        self.request_stop(reason)
        return await self.wait()

    def _note_end(self, task: asyncio.Task[None]) -> None:
        running = next(entry for entry in self._running if entry.task is task)
        error = None if task.cancelled() else task.exception()
        if error is None and running.stop.is_set():
            return
        if task.cancelled() and self._stopping.is_set():
            return
        self._failed = True
        reason = f"loop {running.name!r} " + (
            f"died: {type(error).__name__}" if error is not None else "ended by itself"
        )
        self._log.error("loop died", loop=running.name, exc_info=error or False)
        self.request_stop(reason)

    async def _drain(self) -> None:
        deadline = self._clock.monotonic() + self._drain_seconds
        forced = asyncio.ensure_future(self._forced.wait())
        timer = asyncio.ensure_future(self._clock.sleep(self._drain_seconds))
        try:
            for entry in reversed(self._running):
                entry.stop.ask(deadline)
                if not entry.task.done() and not forced.done() and not timer.done():
                    await asyncio.wait({entry.task, forced, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            forced.cancel()
            timer.cancel()

    async def _cancel_rest(self) -> None:
        late = [entry for entry in reversed(self._running) if not entry.task.done()]
        if not late:
            return
        self._failed = True
        self._log.error("loops did not stop in time and were cancelled", loops=[entry.name for entry in late])
        for entry in late:
            entry.task.cancel()
        _, stuck = await asyncio.wait([entry.task for entry in late], timeout=_CANCEL_SECONDS)
        if stuck:
            self._kill_soon()
            self._log.error("loops ignore their cancellation", loops=sorted(task.get_name() for task in stuck))

    def _kill_soon(self) -> None:
        last_resort = threading.Timer(_KILL_SECONDS, self._kill, (EXIT_FAILED,))
        last_resort.daemon = True
        last_resort.start()

    @contextlib.contextmanager
    def _signals(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        count = 0

        def on_signal(number: int, _frame: FrameType | None) -> None:
            nonlocal count
            count += 1
            if count == 1:
                loop.call_soon_threadsafe(self.request_stop, signal.Signals(number).name)
                return
            loop.call_soon_threadsafe(self.force_stop)
            if count == 2:
                self._kill_soon()

        with _handling(on_signal):
            yield


@contextlib.contextmanager
def ended_by_signals(task: asyncio.Task[object]) -> Iterator[None]:
    """SIGTERM and SIGINT cancel the task: for what a process does before and after its supervisor runs."""
    loop = asyncio.get_running_loop()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(task.cancel, signal.Signals(number).name)

    with _handling(on_signal):
        yield


@contextlib.contextmanager
def _handling(on_signal: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    # Handlers of the standard library rather than the loop's own: they also run while the loop is blocked.
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _run_loop(loop: Loop, stop: StopSignal) -> None:
    await loop(stop)
