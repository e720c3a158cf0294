"""A message of the dead-letter queue as a letter: the same message is the same letter, whatever stands in it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from callboard.messaging.message import Message
from callboard.messaging.rabbitmq.dead_letters import letter_of
from callboard.messaging.topology import (
    DEAD,
    HEADER_DELIVERIES,
    HEADER_LETTER,
    HEADER_ORIGIN,
    HEADER_QUEUE,
    HEADER_REASON,
    HEADER_TOPIC,
    INBOX,
)
from tests.support.rabbit_bus import event

TRACE = "0af7651916cd43dd8448eb211c80319c"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


def dead(body: bytes, **headers: Any) -> Message:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Message(queue=DEAD, exchange="", topic=DEAD, body=body, size=len(body), headers=named)


def test_what_we_buried_says_why_and_from_where() -> None:
    headers = {
        HEADER_LETTER: "l1",
        HEADER_REASON: "no payload",
        HEADER_QUEUE: INBOX,
        HEADER_TOPIC: "orders.created",
        HEADER_DELIVERIES: 3,
        "traceparent": f"00-{TRACE}-{'1' * 16}-01",
    }
    letter = letter_of(dead(b"{", **headers))
    assert (letter.letter_id, letter.reason, letter.queue, letter.topic) == (
        "l1",
        "no payload",
        INBOX,
        "orders.created",
    )
    assert (letter.deliveries, letter.trace_id, letter.event_id, letter.body) == (3, TRACE, None, b"{")


def test_what_the_broker_buried_is_the_same_letter_each_time_and_another_after_a_requeue() -> None:
    death = {"queue": INBOX, "reason": "delivery_limit", "time": 1, "routing-keys": ["a.b"], "count": 1}
    message = dead(b"{", **{"x-death": [death], "x-delivery-count": 4})
    letter = letter_of(message)
    assert letter == letter_of(message)
    assert (letter.queue, letter.topic) == (INBOX, "a.b")
    assert "never answered for" in letter.reason
    later = letter_of(dead(b"{", **{"x-death": [{**death, "time": 2}]}))
    assert later.letter_id != letter.letter_id


def test_the_way_through_a_retry_step_is_not_the_reason() -> None:
    step = {"queue": "orchestrator.inbox.retry.1s", "reason": "expired", "time": 1}
    limit = {"queue": INBOX, "reason": "delivery_limit", "time": 9}
    assert letter_of(dead(b"{", **{"x-death": [limit, step]})).queue == INBOX


def test_ids_of_other_systems_fit_where_they_are_kept() -> None:
    body = event("x" * 60, trace_id="nonsense", tenant="evil").to_json()
    letter = letter_of(dead(body))
    assert letter.event_id is not None
    assert len(letter.event_id) == 32
    assert (letter.trace_id, letter.tenant) == (None, "default")
    ours = letter_of(dead(event("e1", tenant="blue").to_json(), **{HEADER_ORIGIN: "callboard"}))
    assert (ours.tenant, ours.event_id) == ("blue", "e1")


@given(body=st.binary(max_size=60), headers=st.dictionaries(st.text(max_size=12), JSON, max_size=5), death=JSON)
def test_nothing_that_somebody_puts_there_breaks_the_drain(body: bytes, headers: dict[str, Any], death: Any) -> None:
    for found in (death, [death], [{"queue": death, "routing-keys": death, "reason": death}]):
        letter = letter_of(dead(body, **{**headers, "x-death": found, HEADER_TOPIC: death, HEADER_LETTER: death}))
        assert letter.body == body
        assert len(letter.queue) <= 200
        assert len(letter.topic) <= 200
        assert len(letter.letter_id or "") == 32 or letter.letter_id == death
        assert "\x00" not in f"{letter.queue}{letter.topic}{letter.reason}{letter.letter_id}"
