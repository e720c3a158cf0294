"""Events of other systems: gaps are filled, doubts are refused, nothing breaks the reader (INTERFACE.md, section 6)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.errors import InvalidInputError, TooLargeError
from callboard.ids import SequentialIds
from callboard.messaging.events import MAX_HOPS, Event, EventPriority
from callboard.messaging.foreign_events import VIA_BUS, check_message, event_from, is_storable

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        "event_id",
        "event_type",
        "topic",
        "timestamp",
        "trace_id",
        "causation_id",
        "conversation_id",
        "priority",
        "hops",
        "actor",
        "payload",
        "schema_version",
        "tenant",
        "more",
    ]
)


def read(record: Any, topic: str | None = "orders.created", **more: Any) -> Event:
    body = record if isinstance(record, bytes) else orjson.dumps(record)
    return event_from(body, **{"topic": topic, "headers": {}, "now": NOW, "new_id": SequentialIds().new, **more})


def test_a_payload_is_enough() -> None:
    found = read({"payload": {"text": "hi"}}, app_id="shop", headers={"traceparent": f"00-{TRACE}-{'1' * 16}-01"})
    assert (found.topic, found.payload, found.timestamp) == ("orders.created", {"text": "hi"}, NOW)
    assert (found.trace_id, found.event_id, found.hops) == (TRACE, f"{1:032x}", 1)
    assert (found.actor.kind, found.actor.id, found.actor.via) == ("system", "shop", VIA_BUS)
    assert found.priority is EventPriority.NORMAL


def test_what_is_said_is_kept() -> None:
    record = {
        "event_id": "order-1",
        "topic": "ignored.in.favour.of.the.routing.key",
        "timestamp": "2026-04-30T10:00:00+02:00",
        "trace_id": TRACE,
        "conversation_id": "c1",
        "causation_id": "order-0",
        "priority": "high",
        "hops": 3,
        "actor": {"kind": "user", "id": "mia", "via": "slack"},
        "payload": {},
        "unknown": 1,
    }
    found = read(record)
    assert (found.event_id, found.causation_id, found.conversation_id) == ("order-1", "order-0", "c1")
    assert found.timestamp == datetime(2026, 4, 30, 8, tzinfo=UTC)
    assert (found.hops, found.priority, found.trace_id, found.topic) == (4, EventPriority.HIGH, TRACE, "orders.created")
    assert (found.actor.kind, found.actor.id, found.actor.via) == ("user", "mia", VIA_BUS)


def test_a_message_put_straight_into_the_inbox_names_its_own_topic() -> None:
    assert read({"topic": "agent.input.echo", "payload": {}}, topic=None).topic == "agent.input.echo"
    with pytest.raises(InvalidInputError, match="no 'topic'"):
        read({"payload": {}}, topic=None)


def test_an_id_that_does_not_fit_is_replaced_by_the_same_one_each_time() -> None:
    long = {"event_id": "4d2c7c1e-5a0f-4b51-9d0f-2d0c6f0f0a11", "payload": {}}
    assert read(long).event_id == read(long).event_id != read({**long, "event_id": "x" * 40}).event_id
    assert len(read(long).event_id) == 32


def test_without_an_id_the_messages_own_or_the_moment_it_names_tells_repetitions_apart() -> None:
    assert read({"payload": {}}, message_id="m1").event_id == "m1"
    timed = {"payload": {}, "timestamp": "2026-01-01T00:00:00Z"}
    assert read(timed).event_id == read(timed).event_id
    assert read(timed).event_id != read({**timed, "timestamp": "2026-01-01T00:00:01Z"}).event_id


def test_C7_a_time_in_the_future_is_now() -> None:
    assert read({"payload": {}, "timestamp": (NOW + timedelta(days=400)).isoformat()}).timestamp == NOW


def test_a_trace_id_that_is_none_is_replaced() -> None:
    assert read({"payload": {}, "trace_id": 'a","level":"x'}).trace_id != 'a","level":"x'


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (b"{not json", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 5000, "not JSON"),
        (b"null", "a JSON object is expected"),
        ([1], "not list"),
        ({"foo": 1}, "no object 'payload'"),
        ({"payload": "text"}, "no object 'payload'"),
        ({"payload": {}, "schema_version": 99}, "schema version 99"),
        ({"payload": {}, "hops": MAX_HOPS}, "answer each other"),
        ({"payload": {}, "hops": -1}, "'hops'"),
        ({"payload": {}, "hops": True}, "'hops'"),
        ({"payload": {}, "priority": "urgent"}, "priority 'urgent'"),
        ({"payload": {}, "priority": [1]}, "priority"),
        ({"payload": {}, "timestamp": "yesterday"}, "timestamp"),
        ({"payload": {}, "timestamp": 5}, "timestamp"),
        ({"payload": {}, "event_id": 7}, "'event_id'"),
        ({"payload": {}, "actor": "me"}, "'actor'"),
        ({"payload": {}, "conversation_id": "a\x00b"}, "NUL"),
        ({"payload": {}, "conversation_id": "a" * 201}, "over 200"),
    ],
)
def test_C5_what_is_in_doubt_is_refused_with_the_reason(record: Any, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        read(record)


@given(record=st.dictionaries(NAMES, VALUES, max_size=9), topic=st.none() | st.text(max_size=250))
def test_whatever_comes_is_an_event_that_can_be_stored_or_refused(record: dict[str, Any], topic: str | None) -> None:
    try:
        found = read(record, topic=topic)
    except InvalidInputError:
        return
    assert is_storable(found)
    assert Event.from_json(found.to_json()) == found
    assert found.tenant == "default"
    assert found.timestamp <= NOW


@given(body=st.binary(max_size=80))
def test_whatever_bytes_come_are_refused_or_read(body: bytes) -> None:
    try:
        read(body)
    except InvalidInputError:
        return


@pytest.mark.parametrize(
    ("size", "content_type", "content_encoding", "fine"),
    [
        (10, None, None, True),
        (10, "application/json; charset=utf-8", "utf-8", True),
        (10, "application/cloudevents+json", "", True),
        (1024 * 1024, "application/json", None, True),
        (1024 * 1024 + 1, "application/json", None, False),
        (10, "application/json", "gzip", False),
        (10, "text/xml", None, False),
        (10, "application/octet-stream", None, False),
    ],
)
def test_only_plain_json_of_a_size_that_can_be_stored_is_taken(
    size: int, content_type: str | None, content_encoding: str | None, fine: bool
) -> None:
    try:
        check_message(size=size, content_type=content_type, content_encoding=content_encoding)
    except (InvalidInputError, TooLargeError):
        assert not fine
    else:
        assert fine
