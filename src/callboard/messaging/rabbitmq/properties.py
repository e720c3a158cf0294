"""What travels beside an event's bytes, both ways. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pika.spec import BasicProperties

from callboard.messaging.events import Event
from callboard.messaging.message import Message
from callboard.messaging.rabbitmq import frames
from callboard.messaging.rabbitmq.wire import Incoming
from callboard.messaging.topology import (
    HEADER_DEDUPE_KEYS,
    HEADER_DELIVERIES,
    HEADER_ORIGIN,
    HEADER_PROCESS,
    ORIGIN,
)
from callboard.tracing import format_traceparent, is_trace_id

JSON = "application/json"
SIGNAL = "callboard.signal"
"""The property `type` of a message that only wakes."""


class EventProperties:
    """Encodes the properties of this process's messages."""

    def __init__(self, process_id: str) -> None:
        self._ours = {HEADER_ORIGIN: ORIGIN, HEADER_PROCESS: process_id}
        self.signal = frames.properties(frames.table(self._ours), persistent=False, kind=SIGNAL)

    def of_event(self, event: Event) -> bytes:
        return frames.properties(
            frames.table(self._headers(event)), content_type=JSON, message_id=event.event_id, kind=event.event_type
        )

    def of_deposit(self, event: Event, dedupe_keys: tuple[str, ...]) -> bytes:
        headers = self._headers(event) | {HEADER_DEDUPE_KEYS: orjson.dumps(dedupe_keys).decode()}
        return frames.properties(
            frames.table(headers), content_type=JSON, message_id=event.event_id, kind=event.event_type
        )

    def _headers(self, event: Event) -> dict[str, str]:
        if not is_trace_id(event.trace_id):
            return self._ours
        return {**self._ours, "traceparent": format_traceparent(event.trace_id, event.event_id[:16].rjust(16, "1"))}


def with_headers(message: Message, more: Mapping[str, str | int]) -> bytes:
    """The properties of a message that is sent on: its own, and these headers."""
    kept = {name: value for name, value in message.headers.items() if _travels(name, value)}
    return frames.properties(
        frames.table({**kept, **more}),
        content_type=message.content_type,
        message_id=message.message_id,
    )


def message_of(queue: str, incoming: Incoming) -> Message:
    """What came, with its deliveries counted: ours by a header, the broker's by its own."""
    properties = BasicProperties()
    if incoming.properties:
        properties.decode(incoming.properties)
    headers: dict[str, Any] = properties.headers or {}
    return Message(
        queue=queue,
        exchange=incoming.exchange,
        topic=incoming.routing_key,
        body=incoming.body,
        size=incoming.size,
        deliveries=1 + _count(headers.get(HEADER_DELIVERIES)) + _count(headers.get("x-delivery-count")),
        headers=headers,
        message_id=properties.message_id,
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        app_id=properties.app_id,
        timestamp=properties.timestamp,
    )


def is_signal(incoming: Incoming) -> bool:
    return SIGNAL.encode() in incoming.properties


def _count(value: object) -> int:
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _travels(name: str, value: object) -> bool:
    """The broker's own headers start anew at the next queue; tables and lists are nothing that we read."""
    return not name.startswith("x-") and isinstance(value, str | int) and not isinstance(value, bool)
