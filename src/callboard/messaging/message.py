"""A message as it came from a queue, before anybody knows whether it is an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from callboard.messaging.delivery import Queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """The bytes and what the broker says about them.

    `topic` is the routing key, `size` the body's true length: `body` is cut off where the receiver's limit lies.
    `deliveries` counts from 1, this one included.
    """

    queue: str
    exchange: str
    topic: str
    body: bytes
    size: int
    deliveries: int = 1
    headers: Mapping[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    app_id: str | None = None
    timestamp: int | None = None


MessageHandler = Callable[[Message], Awaitable[None]]
"""Ends as `Handler` does: returning is the ack, RejectDelivery, UnavailableError and the rest mean the same."""


class MessageSource(Protocol):
    """A bus whose queues may hold anything that somebody sends there."""

    def consume(self, queue: Queue, handler: MessageHandler) -> None:
        """One handler a queue: a second one is an error (ValueError)."""
        ...
