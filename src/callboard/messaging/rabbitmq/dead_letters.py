"""What stands in `callboard.dead`, as a dead letter. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from callboard.errors import InvalidInputError
from callboard.ids import derive_id
from callboard.messaging.delivery import Undeliverable
from callboard.messaging.events import Event
from callboard.messaging.foreign_events import fitting_id
from callboard.messaging.message import Message
from callboard.messaging.topology import (
    HEADER_DELIVERIES,
    HEADER_LETTER,
    HEADER_ORIGIN,
    HEADER_QUEUE,
    HEADER_REASON,
    HEADER_TOPIC,
    ORIGIN,
)
from callboard.tracing import is_trace_id, parse_traceparent

LONGEST_NAME = 200


def letter_of(message: Message) -> Undeliverable:
    """The letter; the same message gives the same one, however often it is delivered.

    What we buried says why in headers of ours; what the broker buried after the last delivery has its own (x-death).
    """
    headers = message.headers
    death = _death(headers)
    queue = _text(headers.get(HEADER_QUEUE)) or _text(death.get("queue")) or message.queue
    event = _event(message)
    topic = (
        event.topic if event is not None else _text(headers.get(HEADER_TOPIC)) or _routing_key(death) or message.topic
    )
    deliveries = headers.get(HEADER_DELIVERIES)
    made = _text(headers.get(HEADER_LETTER))
    return Undeliverable(
        queue=queue[:LONGEST_NAME],
        topic=_text(topic)[:LONGEST_NAME],
        body=message.body,
        reason=_text(headers.get(HEADER_REASON)) or _broker_reason(death, headers),
        deliveries=(deliveries if isinstance(deliveries, int) else 0) + (0 if made else _count(headers)),
        event_id=fitting_id(event.event_id) if event is not None else None,
        trace_id=_trace_id(event, headers),
        tenant=event.tenant if event is not None and headers.get(HEADER_ORIGIN) == ORIGIN else "default",
        letter_id=fitting_id(made) if made else _derived_id(queue, message.body, death),
    )


def _derived_id(queue: str, body: bytes, death: Mapping[str, Any]) -> str:
    return derive_id("dead", queue, hashlib.sha256(body).hexdigest(), str(death.get("time")))


def _trace_id(event: Event | None, headers: Mapping[str, Any]) -> str | None:
    if event is not None and is_trace_id(event.trace_id):
        return event.trace_id
    return parse_traceparent(_text(headers.get("traceparent")) or None)


def _event(message: Message) -> Event | None:
    try:
        return Event.from_json(message.body)
    except InvalidInputError:
        return None


def _death(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first death: the one in the queue that it was meant for."""
    deaths = headers.get("x-death")
    if isinstance(deaths, list):
        for death in reversed(deaths):
            if isinstance(death, dict) and death.get("reason") != "expired":
                return death
    return {}


def _routing_key(death: Mapping[str, Any]) -> str:
    keys = death.get("routing-keys")
    return _text(keys[0]) if isinstance(keys, list) and keys else ""


def _broker_reason(death: Mapping[str, Any], headers: Mapping[str, Any]) -> str:
    reason = _text(death.get("reason")) or _text(headers.get("x-first-death-reason"))
    if reason == "delivery_limit":
        return "delivered too often and never answered for: its processes ended meanwhile (delivery_limit)"
    return f"moved by the broker: {reason}" if reason else "put here by somebody else, without a reason"


def _count(headers: Mapping[str, Any]) -> int:
    count = headers.get("x-delivery-count")
    return count + 1 if isinstance(count, int) else 1


def _text(value: object) -> str:
    """Without the NUL that a database refuses."""
    return value.replace("\x00", "") if isinstance(value, str) else ""
