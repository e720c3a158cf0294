"""A wake-up: says that there may be work, never how much; two of them are one, and losing one costs a poll."""

from __future__ import annotations

import asyncio

from callboard.clock import Clock


class WakeUp:
    """Set from anywhere on the event loop, awaited by one loop, which looks at its backlog each time."""

    def __init__(self) -> None:
        self._set = asyncio.Event()
        self._set.set()

    def set(self) -> None:
        self._set.set()

    async def wait(self) -> None:
        """Returns at once when it was set since the last wait; the first wait always does."""
        await self._set.wait()
        self._set.clear()

    async def poll(self, clock: Clock, every_seconds: float) -> None:
        """Sets itself for ever, for the wake-ups that were lost."""
        while True:
            await clock.sleep(every_seconds)
            self._set.set()
