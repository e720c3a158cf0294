"""Events of other systems: taken leniently where nothing is lost by it, refused where anything is in doubt. Pure.

INTERFACE.md, section 6, has the shape. Only `payload` must be there: what else is missing is filled in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from callboard.errors import InvalidInputError, TooLargeError
from callboard.ids import derive_id
from callboard.messaging.events import MAX_HOPS, SCHEMA_VERSION, Actor, Event, EventPriority, EventType
from callboard.tracing import generate_trace_id, is_trace_id, parse_traceparent

LARGEST_EVENT_BYTES = 1024 * 1024
VIA_BUS = "bus"
"""`Actor.via` of an event that another system published: it is on the bus already and is not put there again."""
LONGEST_ID = 32
LONGEST_NAME = 200
_PLAIN = ("", "identity", "utf-8")


def event_from(
    body: bytes,
    *,
    topic: str | None,
    headers: Mapping[str, Any],
    now: datetime,
    new_id: Callable[[], str],
    message_id: str | None = None,
    app_id: str | None = None,
) -> Event:
    """The event that another system published with the routing key `topic`; the body's own topic where that is None.

    An id that does not fit ours is replaced by one derived from it, so that a repetition is known; without an id the
    message's own serves, and without that nobody can know a repetition. Raises InvalidInputError with the reason.
    """
    record = _record(body)
    payload = record.get("payload")
    if not isinstance(payload, dict):
        raise InvalidInputError("not an event: it has no object 'payload'")
    version = _number(record, "schema_version", SCHEMA_VERSION)
    if version > SCHEMA_VERSION:
        raise InvalidInputError(
            f"the event has schema version {version}; this release knows up to {SCHEMA_VERSION}: upgrade it first"
        )
    hops = _number(record, "hops", 0) + 1
    if hops > MAX_HOPS:
        raise InvalidInputError(f"the event has come by way of {MAX_HOPS} others: two systems answer each other")
    trace_id = record.get("trace_id")
    if not is_trace_id(trace_id):
        traceparent = headers.get("traceparent")
        trace_id = parse_traceparent(traceparent) if isinstance(traceparent, str | bytes) else None
    return Event(
        event_id=_event_id(record, message_id) or new_id(),
        event_type=_name(record, "event_type") or EventType.EXTERNAL,
        topic=_topic(topic if topic is not None else _name(record, "topic")),
        timestamp=_timestamp(record, now),
        trace_id=trace_id or generate_trace_id(),
        actor=_actor(record.get("actor"), app_id),
        payload=payload,
        causation_id=_id(record, "causation_id"),
        conversation_id=_name(record, "conversation_id"),
        priority=_priority(record),
        hops=hops,
        schema_version=SCHEMA_VERSION,
    )


def is_storable(event: Event) -> bool:
    """Whether an event that is complete also fits where it is kept, as ours do."""
    return (
        _fits(event.event_id)
        and is_trace_id(event.trace_id)
        and (event.causation_id is None or _fits(event.causation_id))
        and all(
            len(name) <= LONGEST_NAME and "\x00" not in name
            for name in (event.topic, event.event_type, event.conversation_id or "")
        )
    )


def fitting_id(given: str) -> str:
    """The id itself, or one derived from it where it would not fit."""
    return given if _fits(given) else derive_id("foreign", given)


def check_message(*, size: int, content_type: str | None, content_encoding: str | None) -> None:
    """Refuses what is not plain JSON of a size that can be stored; InvalidInputError, TooLargeError."""
    if (content_encoding or "").strip().lower() not in _PLAIN:
        raise InvalidInputError(
            f"content-encoding {str(content_encoding)[:40]!r} is not taken: send the JSON as it is, unpacked"
        )
    if size > LARGEST_EVENT_BYTES:
        raise TooLargeError(f"the message has {size} bytes; an event has at most {LARGEST_EVENT_BYTES}")
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind and kind not in ("application/json", "text/json") and not kind.endswith("+json"):
        raise InvalidInputError(f"content-type {kind[:80]!r} is not taken: send application/json")


def _record(body: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise InvalidInputError(f"not an event: a JSON object is expected, not {type(record).__name__}")
    return record


def _event_id(record: Mapping[str, Any], message_id: str | None) -> str | None:
    given = _id(record, "event_id")
    if given is not None:
        return given
    if message_id:
        return fitting_id(message_id)
    if isinstance(record.get("timestamp"), str):
        # Two things that happened at the same moment and are equal to the byte are taken for one.
        return derive_id("foreign", hashlib.sha256(orjson.dumps(record)).hexdigest())
    return None


def _id(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidInputError(f"not an event: {name!r} must be a text, not {type(value).__name__}")
    return fitting_id(value)


def _fits(value: str) -> bool:
    return 0 < len(value) <= LONGEST_ID and value.isascii() and value.isprintable()


def _name(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidInputError(f"not an event: {name!r} must be a text, not {type(value).__name__}")
    if len(value) > LONGEST_NAME or "\x00" in value:
        raise InvalidInputError(f"not an event: {name!r} has over {LONGEST_NAME} characters, or a NUL among them")
    return value


def _topic(topic: str | None) -> str:
    if not topic:
        raise InvalidInputError("not an event: it has no 'topic'")
    if len(topic) > LONGEST_NAME or "\x00" in topic:
        raise InvalidInputError(f"the topic has over {LONGEST_NAME} characters, or a NUL among them")
    return topic


def _number(record: Mapping[str, Any], name: str, default: int) -> int:
    value = record.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInputError(f"not an event: {name!r} must be a whole number of 0 or more, not {str(value)[:40]!r}")
    return value


def _timestamp(record: Mapping[str, Any], now: datetime) -> datetime:
    """When it happened, which is not after now: clocks of other systems may be wrong."""
    value = record.get("timestamp")
    if value is None:
        return now
    try:
        moment = datetime.fromisoformat(value)
        aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(f"not an event: timestamp {str(value)[:40]!r} is no ISO 8601 moment") from error
    return min(aware, now)


def _priority(record: Mapping[str, Any]) -> EventPriority:
    value = record.get("priority", EventPriority.NORMAL)
    try:
        return EventPriority(value)
    except ValueError as error:
        known = ", ".join(EventPriority)
        raise InvalidInputError(f"not an event: priority {str(value)[:40]!r} is none of {known}") from error


def _actor(value: Any, app_id: str | None) -> Actor:
    record = {} if value is None else value
    if not isinstance(record, dict):
        raise InvalidInputError("not an event: 'actor' must be an object with 'kind' and 'id'")
    kind, identity = _name(record, "kind") or "system", _name(record, "id") or (app_id or "")[:LONGEST_NAME]
    return Actor(kind=kind, id=identity.replace("\x00", "") or "unknown", team=_name(record, "team"), via=VIA_BUS)
