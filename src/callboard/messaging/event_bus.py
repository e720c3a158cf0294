"""The port to the bus that carries events between roles and systems."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from callboard.messaging.delivery import Handler, Queue
from callboard.messaging.events import Event
from callboard.messaging.wakeup import WakeUp


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueInfo:
    """One queue: the messages that wait in it (those with a consumer not counted) and who consumes."""

    name: str
    messages: int
    consumers: int
    exists: bool = True


class EventBus(Protocol):
    """Delivery is at least once and in no order: handlers know a repetition by its `event_id`.

    The bus is never the only holder of anything that was acknowledged: what it loses is published again from the
    outbox, and wake-ups are backed by polls (DESIGN.md, rules 1 and 4).
    """

    def publish(self, event: Event) -> asyncio.Future[None]:
        """The future ends when the bus answers for the event, or with the reason why it cannot.

        In one process that is when every bound queue's handler has acked it or it was dead-lettered.
        """
        ...

    async def deposit(self, event: Event, dedupe_keys: tuple[str, ...]) -> None:
        """Puts an event into the orchestrator's inbox, for the time while the database cannot take it.

        Durable when it returns; from then on the bus is its only holder until the inbox is worked off (DESIGN.md, rule
        3). Raises UnavailableError when that cannot be said within a second, though the event may have arrived: whoever
        repeats it does so with the same keys.
        """
        ...

    def subscribe(self, queue: Queue, handler: Handler) -> None:
        """Binds a queue. One handler a queue: a second subscription of the name is an error (ValueError)."""
        ...

    def signal(self, topic: str) -> None:
        """Wakes whoever listens to the topic, in this process and in others; may be lost, is never stored."""
        ...

    def listen(self, patterns: Iterable[str], *, signals: bool = True) -> WakeUp:
        """A wake-up that is set by every event whose topic matches, and by every such signal unless told otherwise."""
        ...

    async def start(self) -> None:
        """Begins to deliver; call it once. Neither fails nor waits because a broker is away."""
        ...

    async def close(self) -> None:
        """Lets running handlers finish; what was not acked comes again at the next start."""
        ...

    async def ping(self) -> None:
        """Raises UnavailableError when the bus cannot carry an event now."""
        ...
