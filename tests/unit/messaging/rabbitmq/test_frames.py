"""What we encode ourselves, read back by pika."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from pika import frame as pika_frame
from pika.spec import BasicProperties

from callboard.messaging.events import Actor, Event
from callboard.messaging.message import Message
from callboard.messaging.rabbitmq import frames
from callboard.messaging.rabbitmq.properties import EventProperties, deliveries_of, is_signal, message_of, with_headers
from callboard.messaging.rabbitmq.wire import Incoming
from callboard.messaging.topology import HEADER_DEDUPE_KEYS, HEADER_DELIVERIES, HEADER_ORIGIN, HEADER_PROCESS
from callboard.tracing import parse_traceparent

TRACE = "0af7651916cd43dd8448eb211c80319c"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


def read(data: bytes) -> list[pika_frame.Frame]:
    """Every frame in the bytes; an AssertionError when they do not end with one."""
    found = []
    while data:
        consumed, frame = pika_frame.decode_frame(data)
        assert consumed, data[:40]
        assert frame is not None
        found.append(frame)
        data = data[consumed:]
    return found


def properties(data: bytes) -> BasicProperties:
    decoded = BasicProperties()
    decoded.decode(data)
    return decoded


def incoming(props: bytes, body: bytes = b"") -> Incoming:
    message = Incoming(1, redelivered=False, exchange="x", routing_key="k")
    message.properties, message.body, message.size = props, body, len(body)
    return message


def event(event_id: str = "e" * 32, trace_id: str = TRACE) -> Event:
    return Event(
        event_id=event_id,
        event_type="run.status",
        topic="run.succeeded.echo",
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        trace_id=trace_id,
        actor=Actor(kind="system", id="t"),
        payload={},
    )


@given(exchange=TEXT, key=TEXT, body=st.binary(max_size=9000), mandatory=st.booleans())
def test_a_publish_is_what_pika_reads_in_frames_of_the_agreed_size(
    exchange: str, key: str, body: bytes, mandatory: bool
) -> None:
    frame_max = 4096
    props = frames.properties(frames.table({"n": -5, "t": "ü"}), content_type="application/json", message_id="m")
    data = frames.publish_method(3, exchange, key, mandatory=mandatory) + frames.content(3, props, body, frame_max)
    method, header, *bodies = read(data)
    assert {frame.channel_number for frame in (method, header, *bodies)} == {3}
    assert (method.method.exchange, method.method.routing_key) == (exchange, key)
    assert method.method.mandatory is mandatory
    assert header.body_size == len(body)
    assert header.properties.headers == {"n": -5, "t": "ü"}
    assert (header.properties.delivery_mode, header.properties.message_id) == (2, "m")
    assert b"".join(piece.fragment for piece in bodies) == body
    assert all(len(piece.fragment) <= frame_max - 8 for piece in bodies)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=400))
def test_a_name_is_cut_off_at_255_bytes_and_stays_text(text: str) -> None:
    encoded = frames.short(text)
    assert encoded[0] == len(encoded) - 1 <= 255
    assert text.startswith(encoded[1:].decode())


def test_acks_and_gets_are_what_pika_reads() -> None:
    one, many, get = read(frames.ack(2, 7, multiple=False) + frames.ack(2, 9, multiple=True) + frames.get(2, "q"))
    assert (one.method.delivery_tag, one.method.multiple) == (7, False)
    assert (many.method.delivery_tag, many.method.multiple) == (9, True)
    assert (get.method.queue, get.method.no_ack) == ("q", False)


def test_an_event_carries_its_trace_its_origin_and_its_id() -> None:
    made = properties(EventProperties("p1").of_event(event()))
    assert made.headers[HEADER_ORIGIN] == "callboard"
    assert made.headers[HEADER_PROCESS] == "p1"
    assert parse_traceparent(made.headers["traceparent"]) == TRACE
    assert (made.message_id, made.type, made.content_type) == ("e" * 32, "run.status", "application/json")
    assert made.delivery_mode == 2


def test_a_trace_that_begins_with_zeros_is_still_a_valid_header() -> None:
    trace_id = "0" * 16 + "1" * 16
    made = properties(EventProperties("p1").of_event(event(trace_id=trace_id)))
    assert parse_traceparent(made.headers["traceparent"]) == trace_id


def test_what_is_no_trace_id_makes_no_header() -> None:
    made = properties(EventProperties("p1").of_event(event(trace_id="none")))
    assert "traceparent" not in made.headers


def test_a_deposit_carries_its_dedupe_keys() -> None:
    made = properties(EventProperties("p1").of_deposit(event(), ("slack:T:C:1", 'a"ü')))
    assert made.headers[HEADER_DEDUPE_KEYS] == '["slack:T:C:1","a\\"ü"]'
    assert parse_traceparent(made.headers["traceparent"]) == TRACE


def test_a_signal_is_known_by_its_properties_alone() -> None:
    ours = EventProperties("p1")
    assert is_signal(incoming(ours.signal))
    assert not is_signal(incoming(ours.of_event(event())))
    assert properties(ours.signal).delivery_mode == 1


@given(ours=st.integers(0, 9), brokers=st.integers(0, 9))
def test_deliveries_are_counted_by_us_and_by_the_broker(ours: int, brokers: int) -> None:
    headers = {HEADER_DELIVERIES: ours, "x-delivery-count": brokers}
    assert deliveries_of(incoming(frames.properties(frames.table(headers)))) == ours + brokers + 1


def test_a_count_that_is_no_number_counts_nothing() -> None:
    assert deliveries_of(incoming(frames.properties(frames.table({HEADER_DELIVERIES: "many"})))) == 1


def test_what_is_sent_on_keeps_what_it_said_but_for_the_brokers_own_headers() -> None:
    came = BasicProperties(
        content_type="application/json",
        message_id="m1",
        headers={"traceparent": "00-x", "tenant": 5, "x-delivery-count": 3, "x-death": [{"queue": "q"}], "ok": True},
    )
    message = message_of("q", incoming(b"".join(came.encode())))
    assert isinstance(message, Message)
    assert message.deliveries == 4
    sent = properties(with_headers(message, {HEADER_DELIVERIES: 4}))
    assert sent.headers == {"traceparent": "00-x", "tenant": 5, HEADER_DELIVERIES: 4}
    assert (sent.message_id, sent.content_type, sent.delivery_mode) == ("m1", "application/json", 2)
