"""Sees when something blocks the event loop, and what."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator
from types import FrameType


class LoopBlockedError(AssertionError):
    """The event loop did not turn for longer than allowed; the message shows where it stood."""


@contextlib.asynccontextmanager
async def loop_stays_free(limit_seconds: float = 3.0) -> AsyncIterator[None]:
    """Fail at the end when the loop stood still for longer than that inside.

    The limit is generous by default, because a busy machine can stop a whole process for a while.
    """
    loop = asyncio.get_running_loop()
    watch = _Watch(loop, threading.get_ident(), limit_seconds)
    thread = threading.Thread(target=watch.run, name="loop-watch", daemon=True)
    thread.start()
    try:
        yield
        await asyncio.sleep(0)
    finally:
        watch.over.set()
        await asyncio.to_thread(thread.join)
    if watch.blocked_at is not None:
        raise LoopBlockedError(f"the event loop stood still for over {limit_seconds:g} s here:\n{watch.blocked_at}")


class _Watch:
    def __init__(self, loop: asyncio.AbstractEventLoop, thread_id: int, limit_seconds: float) -> None:
        self.over = threading.Event()
        self.blocked_at: str | None = None
        self._loop = loop
        self._thread_id = thread_id
        self._limit_seconds = limit_seconds

    def run(self) -> None:
        while not self.over.is_set() and self.blocked_at is None:
            turned = threading.Event()
            self._loop.call_soon_threadsafe(turned.set)
            asked = time.monotonic()
            while not turned.wait(self._limit_seconds / 10):
                if time.monotonic() - asked > self._limit_seconds:
                    self.blocked_at = _stack_of(sys._current_frames().get(self._thread_id))
                    return
            self.over.wait(self._limit_seconds / 20)


def _stack_of(frame: FrameType | None) -> str:
    return "".join(traceback.format_stack(frame)) if frame is not None else "(the loop's thread is gone)"
