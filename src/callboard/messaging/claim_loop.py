"""The one loop by which every backlog is worked: wake up, claim at most the free slots, work, repeat."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.messaging.wakeup import WakeUp

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """How many items are worked at a time.

    `reserve` of the `total` may be kept from some items: a claim that took all the others was a full one.
    `most_at_once` bounds one claim, None by what is free. Whoever takes that many looks again at once, and meanwhile
    others may have come first: so a burst is shared by the processes that wait for it.
    """

    total: int
    reserve: int = 0
    most_at_once: int | None = None


class ClaimLoop(Generic[Item]):
    """Claims items of a table and works each in a task of its own (DESIGN.md, rule 4).

    `claim(free)` returns at most `free` items that this process owns from then on; `work(item)` must settle its item
    and raises only what is a defect. It looks again when woken, when a slot is freed after a full claim, and once a
    `poll_seconds` for wake-ups that were lost. A store that is away is tried again at the next poll.
    """

    def __init__(
        self,
        name: str,
        *,
        slots: Slots,
        wake: WakeUp,
        claim: Callable[[int], Awaitable[Sequence[Item]]],
        work: Callable[[Item], Awaitable[None]],
        clock: Clock,
        poll_seconds: float = 1.0,
    ) -> None:
        self._name = name
        self._total = slots.total
        self._reserve = slots.reserve
        self._most_at_once = slots.most_at_once or slots.total
        self._wake = wake
        self._claim = claim
        self._work = work
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._tasks: set[asyncio.Task[None]] = set()
        self._full = False
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._ended = asyncio.Event()
        self._ended.set()
        self._log = StructuredLogger(name)

    @property
    def active(self) -> int:
        return len(self._tasks)

    async def run(self) -> None:
        """Until `stop`; a claim refused for a process that was declared dead ends it with FencedError."""
        poll = asyncio.create_task(self._wake.poll(self._clock, self._poll_seconds), name=f"{self._name} poll")
        self._ended.clear()
        try:
            while not self._stopping:
                await self._wake.wait()
                await self._fill()
        finally:
            poll.cancel()
            self._ended.set()

    def stop(self) -> None:
        """Claims nothing more; what is under way goes on."""
        self._stopping = True
        self._wake.set()

    async def drained(self) -> None:
        """After `stop`: returns when nothing is under way, a claim that was on its way then included."""
        await self._ended.wait()
        await self._idle.wait()

    async def abort(self) -> None:
        """Cancels what is still under way and waits for it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _fill(self) -> None:
        free = self._total - len(self._tasks)
        if free <= 0 or self._stopping:
            self._full = free <= 0
            return
        wanted = min(free, self._most_at_once)
        try:
            items = await self._claim(wanted)
        except UnavailableError as error:
            self._log.warning("cannot claim", reason=error.message)
            return
        self._full = len(items) >= max(0, free - self._reserve)
        for item in items:
            task = asyncio.create_task(self._guarded(item))
            self._tasks.add(task)
            self._idle.clear()
            task.add_done_callback(self._freed)
        if len(items) == wanted < free:
            self._wake.set()

    async def _guarded(self, item: Item) -> None:
        try:
            await self._work(item)
        except Exception:  # noqa: BLE001  # the loop outlives a defect in one item; its lease or next_try brings the item back
            self._log.error("an item was not settled", exc_info=True)

    def _freed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._idle.set()
        if self._full:
            self._wake.set()
