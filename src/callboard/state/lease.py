"""A process's lease on its runs: the beat that keeps it, and the watchdog over the loop that beats (DESIGN.md, R13)."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable

from callboard.clock import Clock
from callboard.errors import FencedError, UnavailableError
from callboard.logs import StructuredLogger
from callboard.messaging.wakeup import WakeUp
from callboard.state.process_store import ProcessStore

STALLED_SECONDS = 10.0
STALE_SHARE = 0.75
"""Of the time after which others take a process for dead: a process whose last good beat is older begins nothing."""
EXIT_STALLED = 70


class ProcessLease:
    """Beats for one process and hears which of its runs somebody wants stopped.

    The beat comes from the event loop itself, so a loop that no longer turns no longer beats; a thread beside it ends
    the process when the loop has not answered for ten seconds, before anybody else may think it dead.
    """

    def __init__(
        self,
        processes: ProcessStore,
        clock: Clock,
        process_id: str,
        on_cancelled: Callable[[frozenset[str]], None],
        wake: WakeUp,
        *,
        beat_seconds: float = 5.0,
        dead_seconds: float = 20.0,
        kill: Callable[[int], None] = os._exit,
    ) -> None:
        self.process_id = process_id
        self._processes = processes
        self._clock = clock
        self._on_cancelled = on_cancelled
        self._wake = wake
        self._beat_seconds = beat_seconds
        self._stale_seconds = dead_seconds * STALE_SHARE
        self._kill = kill
        self._last_good = clock.monotonic()
        self._log = StructuredLogger("lease")

    def may_start(self) -> bool:
        """Whether this process may begin anything: its last beat that arrived is not too old (DESIGN.md, R14)."""
        return self._clock.monotonic() - self._last_good < self._stale_seconds

    async def run(self) -> None:
        """For ever, once a `beat_seconds` and when woken because somebody wants a run stopped.

        FencedError once the process was declared dead, which must end it.
        """
        poll = asyncio.ensure_future(self._wake.poll(self._clock, self._beat_seconds))
        try:
            while True:
                await self._wake.wait()
                await self.beat()
        finally:
            poll.cancel()

    async def beat(self) -> None:
        """One beat; a database that is away is no reason to end."""
        sent = self._clock.monotonic()
        try:
            reply = await self._processes.beat(self.process_id)
        except UnavailableError as error:
            self._log.warning("the beat did not arrive", reason=error.message)
        except FencedError:
            self._log.error("this process was declared dead and ends")
            raise
        else:
            self._last_good = sent
            if reply.cancelled:
                self._on_cancelled(reply.cancelled)

    async def watch_loop(self) -> None:
        """Keeps a thread that ends the process when the event loop stands still; until cancelled."""
        loop = asyncio.get_running_loop()
        answered = threading.Event()
        stopped = threading.Event()
        threading.Thread(target=self._watch, args=(loop, answered, stopped), name="watchdog", daemon=True).start()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, answered: threading.Event, stopped: threading.Event) -> None:
        while not stopped.wait(1.0):
            answered.clear()
            try:
                loop.call_soon_threadsafe(answered.set)
            except RuntimeError:
                return  # the loop is closed: the process is ending by itself
            if not answered.wait(STALLED_SECONDS) and not stopped.is_set():
                # Straight to the descriptor: the loop that the logger needs is what has stopped.
                message = f"callboard: the event loop has not answered for {STALLED_SECONDS:g} s; this process ends\n"
                os.write(sys.stderr.fileno(), message.encode())
                self._kill(EXIT_STALLED)
                return
