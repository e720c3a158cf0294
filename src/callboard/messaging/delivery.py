"""One delivery of an event to one queue, and what may become of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from callboard.messaging.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """`deliveries` counts from 1; more than one means that an earlier try failed or its process died."""

    queue: str
    event: Event
    deliveries: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Undeliverable:
    """What goes to the dead letters: the bytes as they came, why, and after how many deliveries."""

    queue: str
    topic: str
    body: bytes
    reason: str
    deliveries: int
    event_id: str | None = None
    trace_id: str | None = None
    tenant: str = "default"
    letter_id: str | None = None
    """Given when a letter may be handed over twice: the same id is the same letter."""


class RejectDelivery(Exception):  # noqa: N818  # it is an instruction, not a failure
    """Raised by a handler: this event can never be handled; to the dead letters at once, with the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Handler = Callable[[Delivery], Awaitable[None]]
"""Returning is the ack. RejectDelivery dead-letters at once; UnavailableError comes again and counts nothing; any
other exception comes again after a pause, until the deliveries are used up."""

DeadLetterSink = Callable[[Undeliverable], Awaitable[None]]
"""Keeps a dead letter; must not return before it is durable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A named queue bound to the exchange with topic patterns."""

    name: str
    patterns: tuple[str, ...]
    max_deliveries: int = 5
    retry_seconds: tuple[float, ...] = (1.0, 5.0, 30.0)
    concurrency: int = 1
    """How many deliveries may be with the handler at once, on a bus whose queues live in a broker."""

    def pause(self, deliveries: int) -> float:
        """Seconds before the next delivery, after so many of them."""
        return self.retry_seconds[min(deliveries, len(self.retry_seconds)) - 1]
