"""Time as a port: what the program reads and waits on, so that tests advance it instead of sleeping."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for leases and timeouts.

    The two must never be compared: wall time may jump, monotonic time may not (RELIABILITY.md, F2 and F3).
    """

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences have a meaning."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long on the monotonic clock; zero or less yields once."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class ManualClock:
    """A clock that stands still until `advance` is called; sleepers wake in the order of their deadlines."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)
        self._elapsed = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), waiter))
        await waiter

    def set_wall(self, now: datetime) -> None:
        """Move the wall clock alone, as a correction by the operator or NTP would."""
        self._now = now

    async def advance(self, seconds: float) -> None:
        """Move both clocks, waking every sleeper whose deadline passes, each at its own time."""
        end = self._elapsed + seconds
        await asyncio.sleep(0)
        while self._sleepers and self._sleepers[0][0] <= end:
            deadline, _, waiter = heapq.heappop(self._sleepers)
            self._move_to(deadline)
            if not waiter.done():
                waiter.set_result(None)
            await asyncio.sleep(0)
        self._move_to(end)
        await asyncio.sleep(0)

    def _move_to(self, elapsed: float) -> None:
        self._now += timedelta(seconds=elapsed - self._elapsed)
        self._elapsed = elapsed
