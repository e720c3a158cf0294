"""Events travel as bytes and come back equal; anything else is refused with a reason (C5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.errors import InvalidInputError
from callboard.messaging.events import SCHEMA_VERSION, Actor, Event, EventPriority

EVENT = Event(
    event_id="e" * 32,
    event_type="external",
    topic="ci.build.finished",
    timestamp=datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC),
    trace_id="t" * 32,
    actor=Actor(kind="user", id="U1", team="T1", via="slack"),
    payload={"text": "ü", "n": [1, None, {"a": 0.5}]},
    causation_id="c" * 32,
    conversation_id="thread:1",
    priority=EventPriority.HIGH,
    retry_count=2,
    hops=3,
)


def test_an_event_comes_back_equal() -> None:
    assert Event.from_json(EVENT.to_json()) == EVENT


@given(
    st.dictionaries(st.text(), st.text() | st.integers(-(2**53), 2**53) | st.none(), max_size=4),
    st.sampled_from(EventPriority),
    st.datetimes(timezones=st.just(UTC)),
)
def test_any_event_comes_back_equal(payload: dict[str, object], priority: EventPriority, at: datetime) -> None:
    event = replace(EVENT, payload=payload, priority=priority, timestamp=at)
    assert Event.from_json(event.to_json()) == event


def test_a_redelivery_is_the_same_event() -> None:
    again = EVENT.redelivered()
    assert again == replace(EVENT, retry_count=3)


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b"\xff", b'{"event_id": 3}', EVENT.to_json()[:-20]])
def test_C5_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError, match="not an event"):
        Event.from_json(data)


def test_C5_a_newer_schema_is_refused_with_the_way_out() -> None:
    newer = replace(EVENT, schema_version=SCHEMA_VERSION + 1)
    with pytest.raises(InvalidInputError, match="upgrade the consumer"):
        Event.from_json(newer.to_json())
