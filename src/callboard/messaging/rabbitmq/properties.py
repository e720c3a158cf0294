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
X_DELIVERY_COUNT = "x-delivery-count"
_OURS, _BROKERS = HEADER_DELIVERIES.encode(), X_DELIVERY_COUNT.encode()
NO_SPAN = "0" * 16
SIGNAL = "callboard.signal"
"""The property `type` of a message that only wakes."""


class EventProperties:
    """Encodes the properties of this process's messages; what is the same in all of them is encoded once."""

    def __init__(self, process_id: str) -> None:
        ours = {HEADER_ORIGIN: ORIGIN, HEADER_PROCESS: process_id}
        self._ours = ours
        self._untraced = frames.table(ours)
        example = format_traceparent("1" * 32)
        traced = frames.table({**ours, "traceparent": example})
        self._before = frames.properties(traced, content_type=JSON, message_id="", kind="").partition(example.encode())[
            0
        ]
        self.signal = frames.properties(frames.table(ours), persistent=False, kind=SIGNAL)

    def of_event(self, event: Event) -> bytes:
        """`traceparent` stands last in the table, and what differs from event to event behind everything else."""
        trace_id = event.trace_id
        if not is_trace_id(trace_id):
            return frames.properties(
                self._untraced, content_type=JSON, message_id=event.event_id, kind=event.event_type
            )
        return b"".join(
            (
                self._before,
                _traceparent(trace_id).encode(),
                frames.PERSISTENT,
                frames.short(event.event_id),
                frames.short(event.event_type),
            )
        )

    def of_deposit(self, event: Event, dedupe_keys: tuple[str, ...]) -> bytes:
        headers = {**self._ours, HEADER_DEDUPE_KEYS: orjson.dumps(dedupe_keys).decode()}
        if is_trace_id(event.trace_id):
            headers["traceparent"] = _traceparent(event.trace_id)
        return frames.properties(
            frames.table(headers), content_type=JSON, message_id=event.event_id, kind=event.event_type
        )


def _traceparent(trace_id: str) -> str:
    """With half of the trace id for the span's: a message is no span of its own."""
    span = trace_id[:16]
    return f"00-{trace_id}-{span if span != NO_SPAN else trace_id[16:]}-01"


def with_headers(message: Message, more: Mapping[str, str | int]) -> bytes:
    """The properties of a message that is sent on: its own, and these headers."""
    kept = {name: value for name, value in message.headers.items() if _travels(name, value)}
    return frames.properties(
        frames.table({**kept, **more}),
        content_type=message.content_type,
        message_id=message.message_id,
    )


def deliveries_of(incoming: Incoming) -> int:
    """Counted from 1, this one included: ours by a header, the broker's by its own. Mostly there is none."""
    found = incoming.properties
    if _OURS not in found and _BROKERS not in found:
        return 1
    headers = _decoded(incoming).headers or {}
    return 1 + _count(headers.get(HEADER_DELIVERIES)) + _count(headers.get(X_DELIVERY_COUNT))


def is_uncounted(incoming: Incoming) -> bool:
    """Whether it comes again and the broker does not say how often, as a classic queue does."""
    return incoming.redelivered and _BROKERS not in incoming.properties


def message_of(queue: str, incoming: Incoming) -> Message:
    """Everything that came."""
    properties = _decoded(incoming)
    headers: dict[str, Any] = properties.headers or {}
    return Message(
        queue=queue,
        exchange=incoming.exchange,
        topic=incoming.routing_key,
        body=incoming.body,
        size=incoming.size,
        deliveries=deliveries_of(incoming),
        headers=headers,
        message_id=properties.message_id,
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        app_id=properties.app_id,
        timestamp=properties.timestamp,
    )


def is_signal(incoming: Incoming) -> bool:
    return SIGNAL.encode() in incoming.properties


def _decoded(incoming: Incoming) -> BasicProperties:
    properties = BasicProperties()
    if incoming.properties:
        properties.decode(incoming.properties)
    return properties


def _count(value: object) -> int:
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _travels(name: str, value: object) -> bool:
    """The broker's own headers start anew at the next queue; tables and lists are nothing that we read."""
    return not name.startswith("x-") and isinstance(value, str | int) and not isinstance(value, bool)
