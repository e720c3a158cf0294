"""One event loop on a thread of its own, for synchronous code that needs what lives on a loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

import uvloop

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.lifecycle import StopSignal
from callboard.logs import StructuredLogger

T = TypeVar("T")
R = TypeVar("R")
Body = Callable[[Callable[[T], None], StopSignal], Awaitable[None]]
"""Opens what is to live on the loop, hands it over by calling its first argument, and runs until it is told to stop."""


class LoopThread(Generic[T]):
    """Belongs to the process that made it: a fork inherits neither the thread nor the right to use it."""

    def __init__(self, name: str, body: Body[T], clock: Clock, *, died: Callable[[], None]) -> None:
        """`died` is called on the thread when the body ends before it was told to."""
        self._name = name
        self._body = body
        self._clock = clock
        self._died = died
        self._log = StructuredLogger(name)
        self._opened: Future[T] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: StopSignal | None = None
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread; what it opens may take longer."""
        self._thread.start()
        self._running.wait()

    def call(self, work: Callable[[T], Coroutine[Any, Any, R]], *, open_seconds: float, seconds: float) -> R:
        """Runs the work on the loop and gives what it returns or raises.

        UnavailableError when nothing was opened within `open_seconds`; TimeoutError when the work takes longer than
        `seconds`. The work is cancelled then, as it is when the caller is interrupted.
        """
        try:
            opened = self._opened.result(open_seconds)
        except TimeoutError:
            raise UnavailableError(f"{self._name} is not open yet") from None
        assert self._loop is not None  # noqa: S101  # what is opened is opened on it
        future = asyncio.run_coroutine_threadsafe(work(opened), self._loop)
        try:
            return future.result(seconds)
        except BaseException:  # an interrupt too: nobody waits for the call any more
            future.cancel()
            raise

    def stop(self, seconds: float) -> bool:
        """Tells the body to stop; whether it did in that time."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.ask, self._clock.monotonic() + seconds)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._main())
        except BaseException as error:  # noqa: BLE001  # nobody above this thread would hear of it
            self._log.error("what ran beside the tasks died", exc_info=error)
        if self._stop is None or not self._stop.is_set():
            self._died()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = StopSignal(self._clock)
        self._running.set()
        await self._body(self._opened.set_result, self._stop)
