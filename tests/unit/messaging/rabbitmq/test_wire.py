"""The fast path through pika: the same frames in whatever pieces they arrive, and pika's inner names where we lean."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Any

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame as pika_frame
from pika import spec
from pika.adapters.utils import io_services_utils

from callboard.messaging.rabbitmq import frames
from callboard.messaging.rabbitmq.wire import LARGEST_KEPT_BODY_BYTES, Incoming, Wire


@dataclass(eq=False)
class Sink:
    messages: list[Incoming] = field(default_factory=list)
    answers: list[tuple[int, bool, bool]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def delivered(self, message: Incoming) -> None:
        self.messages.append(message)

    def confirmed(self, tag: int, *, multiple: bool, kept: bool) -> None:
        self.answers.append((tag, multiple, kept))

    def empty(self) -> None:
        self.others.append("empty")

    def cancelled(self) -> None:
        self.others.append("cancelled")


def method(frame: Any) -> bytes:
    return bytes(pika_frame.Method(1, frame).marshal())


def delivery(tag: int, body: bytes, frame_max: int = 4096) -> bytes:
    props = frames.properties(frames.table({"n": tag}), message_id=f"m{tag}")
    head = method(spec.Basic.Deliver("ctag", tag, tag % 2 == 0, "callboard.events", f"a.b{tag}"))
    return head + frames.content(1, props, body, frame_max)


def read(data: bytes, cuts: list[int]) -> tuple[Sink, list[str]]:
    """What the sink gets, and the methods that pika was left with."""

    async def run() -> tuple[Sink, list[str]]:
        wire = Wire(pika.ConnectionParameters(), custom_ioloop=asyncio.get_running_loop(), **_NOT_CONNECTED)
        sink, left = Sink(), []
        wire.route_content(1, sink)
        wire._process_frame = lambda frame: left.append(frame.method.NAME)
        edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        for begin, end in itertools.pairwise(edges):
            wire._on_data_available(data[begin:end])
        return sink, left

    return asyncio.run(run())


_NOT_CONNECTED = {"internal_connection_workflow": False}


@given(bodies=st.lists(st.binary(max_size=9000), min_size=1, max_size=6), cuts=st.lists(st.integers(0, 60_000)))
def test_messages_are_whole_in_whatever_pieces_they_arrive(bodies: list[bytes], cuts: list[int]) -> None:
    data = b"".join(delivery(number, body) for number, body in enumerate(bodies, 1))
    sink, left = read(data + method(spec.Basic.Ack(7, True)) + method(spec.Channel.CloseOk()), cuts)
    assert [message.body for message in sink.messages] == bodies
    assert [message.tag for message in sink.messages] == list(range(1, len(bodies) + 1))
    assert [message.redelivered for message in sink.messages] == [n % 2 == 0 for n in range(1, len(bodies) + 1)]
    assert {message.exchange for message in sink.messages} == {"callboard.events"}
    assert sink.messages[-1].routing_key == f"a.b{len(bodies)}"
    assert [message.size for message in sink.messages] == [len(body) for body in bodies]
    assert sink.answers == [(7, True, True)]
    assert left == ["Channel.CloseOk"]


def test_answers_returns_and_the_end_of_a_consumer_reach_the_sink() -> None:
    returned = method(spec.Basic.Return(312, "NO_ROUTE", "", "q")) + frames.content(
        1, frames.properties(frames.table({})), b"back", 4096
    )
    got = method(spec.Basic.GetOk(5, False, "", "q", 0)) + frames.content(
        1, frames.properties(frames.table({})), b"", 9
    )
    others = (spec.Basic.Nack(3, False, False), spec.Basic.GetEmpty(), spec.Basic.Cancel("ctag"))
    sink, left = read(returned + got + b"".join(map(method, others)), [])
    assert [(message.returned, message.routing_key, message.body) for message in sink.messages] == [
        ("NO_ROUTE", "q", b"back"),
        ("", "q", b""),
    ]
    assert sink.answers == [(3, False, False)]
    assert sink.others == ["empty", "cancelled"]
    assert left == []


def test_C5_of_a_body_that_nobody_can_use_only_the_beginning_is_kept() -> None:
    sink, _ = read(delivery(1, b"x" * (3 * LARGEST_KEPT_BODY_BYTES), 131_072) + delivery(2, b"y"), [])
    assert [message.size for message in sink.messages] == [3 * LARGEST_KEPT_BODY_BYTES, 1]
    assert len(sink.messages[0].body) == LARGEST_KEPT_BODY_BYTES


@pytest.mark.parametrize("name", ["_MAX_RECV_BYTES", "_on_socket_writable", "get_write_buffer_size", "write"])
def test_pikas_transport_has_what_we_lean_on(name: str) -> None:
    assert hasattr(io_services_utils._AsyncPlaintextTransport, name)


@pytest.mark.parametrize(
    "name",
    [
        "_adapter_emit_data",
        "_on_connection_workflow_done",
        "_on_data_available",
        "_proto_connection_made",
        "_process_frame",
        "_terminate_stream",
    ],
)
def test_pikas_connection_has_what_we_override(name: str) -> None:
    assert callable(getattr(pika.connection.Connection, name, None) or getattr(Wire.__mro__[2], name))
