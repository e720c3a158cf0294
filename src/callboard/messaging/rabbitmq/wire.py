"""pika's asyncio connection with a fast path for content: whole turns of the loop in one write, frames read in place.

pika 1.4 writes each frame by itself, reads 4 KiB at a time, and makes objects of every frame. Everything but messages
and their answers still goes through it: handshake, heartbeats, channels, declarations. This is the one file that leans
on its inner names (`tests/unit/messaging/rabbitmq/test_wire.py` fails when a release moves them).
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any, Protocol

import pika
from pika import frame as pika_frame
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.exceptions import InvalidFrameError

from callboard.messaging.rabbitmq import frames

READ_BYTES = 256 * 1024
LARGEST_KEPT_BODY_BYTES = 1024 * 1024 + 64 * 1024
"""Of a larger body the rest is read and thrown away: nothing that long is an event."""

_HEAD = struct.Struct(">BHI")
_METHOD = struct.Struct(">I")
_BODY_SIZE = struct.Struct(">Q")
_TAG_BIT = struct.Struct(">Q?")


class Incoming:
    """One message on its way in; `properties` are the bytes of flags and values."""

    __slots__ = ("body", "exchange", "missing", "properties", "redelivered", "returned", "routing_key", "size", "tag")

    def __init__(self, tag: int, *, redelivered: bool, exchange: str, routing_key: str, returned: str = "") -> None:
        self.tag = tag
        self.redelivered = redelivered
        self.exchange = exchange
        self.routing_key = routing_key
        self.returned = returned
        self.properties = b""
        self.size = 0
        self.missing = 0
        self.body = b""


class ContentSink(Protocol):
    """Takes what a channel receives beside answers to declarations, in the order of its arrival.

    Called in the event loop, within the reading of the connection: must return at once, and not raise.
    """

    def delivered(self, message: Incoming) -> None:
        """A message with its body, of which `LARGEST_KEPT_BODY_BYTES` are kept; `returned` where it is one of ours that
        no queue takes."""
        ...

    def empty(self) -> None:
        """A queue that was asked for one message has none."""
        ...

    def confirmed(self, tag: int, *, multiple: bool, kept: bool) -> None:
        """The broker has answered for the publish number `tag`, or for all up to it; not `kept`: it refuses them."""
        ...

    def cancelled(self) -> None:
        """The broker ended the consumer: its queue is gone."""
        ...


class Wire(AsyncioConnection):  # type: ignore[misc]  # pika has no types
    """A connection of pika; see the module."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._sinks: dict[int, ContentSink] = {}
        self._partial: dict[int, Incoming] = {}
        self._names: dict[bytes, str] = {}
        self._outgoing: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._unread = b""
        self._plain = False
        super().__init__(*args, **kwargs)

    @property
    def frame_max(self) -> int:
        return int(self.params.frame_max or pika.spec.FRAME_MAX_SIZE)

    @property
    def virtual_host(self) -> str:
        return str(self.params.virtual_host)

    def route_content(self, channel: int, sink: ContentSink) -> None:
        """Messages and confirms of this channel go to the sink from now on, past pika."""
        self._sinks[channel] = sink

    def forget_content(self, channel: int) -> None:
        self._sinks.pop(channel, None)
        self._partial.pop(channel, None)

    def send(self, data: bytes) -> None:
        """Whole frames, written with everything else of this turn of the loop."""
        self._adapter_emit_data(data)

    def flush(self) -> None:
        """Writes what has gathered in this turn."""
        outgoing, self._outgoing = self._outgoing, []
        transport = self._transport
        if transport is None or not outgoing:
            return
        joined = outgoing[0] if len(outgoing) == 1 else b"".join(outgoing)
        self.bytes_sent += len(joined)
        free = not transport.get_write_buffer_size()
        transport.write(joined)
        if free and self._plain:
            # pika would wait for the next turn of the loop to see what is so most of the time: the socket takes it.
            transport._on_socket_writable()

    def abort(self, reason: Exception) -> None:
        """Ends the connection without a word to the broker."""
        if not self.is_closed:
            self._terminate_stream(reason)

    def _adapter_emit_data(self, data: bytes) -> None:
        if not self._outgoing:
            self._loop.call_soon(self.flush)
        self._outgoing.append(data)

    def _on_connection_workflow_done(self, conn_or_exc: Any) -> None:
        # When a connection is closed amid its handshake, pika hands over the class of the exception and not one of it,
        # takes that for a success and trips over it: nobody would hear that the connection has ended.
        super()._on_connection_workflow_done(conn_or_exc() if isinstance(conn_or_exc, type) else conn_or_exc)

    def _proto_connection_made(self, transport: Any) -> None:
        transport._MAX_RECV_BYTES = READ_BYTES
        super()._proto_connection_made(transport)

    def _on_data_available(self, data_in: bytes) -> None:
        data = self._unread + data_in if self._unread else data_in
        at, end = 0, len(data)
        while end - at >= frames.OVERHEAD_BYTES and not self.is_closed:
            kind, channel, size = _HEAD.unpack_from(data, at)
            if kind == 0x41:  # "AMQP": the broker speaks another version, and says which
                self._process_frame(pika_frame.decode_frame(data[at : at + 8])[1])
                at += 8
                continue
            after = at + size + frames.OVERHEAD_BYTES
            if after > end:
                break
            if data[after - 1] != 0xCE:
                raise InvalidFrameError("a frame does not end where it says")
            sink = self._sinks.get(channel)
            if sink is None or not self._content(sink, kind, channel, data, at + 7, after - 1):
                _, value = pika_frame.decode_frame(data[at:after])
                self._process_frame(value)
            at = after
        self.bytes_received += at
        self._unread = data[at:] if at < end else b""

    def _content(self, sink: ContentSink, kind: int, channel: int, data: bytes, at: int, end: int) -> bool:
        """Whether the frame was one of the fast path."""
        if kind == frames.BODY:
            message = self._partial.get(channel)
            if message is not None:
                self._body(sink, channel, message, data[at:end])
            return True
        if kind == frames.HEADER:
            message = self._partial.get(channel)
            if message is not None:
                message.size = message.missing = _BODY_SIZE.unpack_from(data, at + 4)[0]
                message.properties = data[at + 12 : end]
                if not message.size:
                    self._complete(sink, channel, message)
            return True
        return kind == frames.METHOD and self._method(sink, channel, data, at)

    def _method(self, sink: ContentSink, channel: int, data: bytes, at: int) -> bool:
        method = _METHOD.unpack_from(data, at)[0]
        if method == frames.DELIVER:
            self._partial[channel] = self._delivery(data, at + 4 + 1 + data[at + 4])
        elif method in (frames.ACK, frames.NACK):
            tag, flag = _TAG_BIT.unpack_from(data, at + 4)
            sink.confirmed(tag, multiple=bool(flag), kept=method == frames.ACK)
        elif method == frames.GET_OK:
            self._partial[channel] = self._delivery(data, at + 4)
        elif method == frames.GET_EMPTY:
            sink.empty()
        elif method == frames.RETURN:
            self._partial[channel] = self._return(data, at + 4)
        elif method == frames.CANCEL:
            sink.cancelled()
        else:
            return False
        return True

    def _delivery(self, data: bytes, at: int) -> Incoming:
        tag, redelivered = _TAG_BIT.unpack_from(data, at)
        exchange, at = self._name(data, at + 9)
        routing_key, _ = self._name(data, at)
        return Incoming(tag, redelivered=bool(redelivered), exchange=exchange, routing_key=routing_key)

    def _return(self, data: bytes, at: int) -> Incoming:
        why, at = self._name(data, at + 2)
        exchange, at = self._name(data, at)
        routing_key, _ = self._name(data, at)
        return Incoming(0, redelivered=False, exchange=exchange, routing_key=routing_key, returned=why or "returned")

    def _name(self, data: bytes, at: int) -> tuple[str, int]:
        after = at + 1 + data[at]
        raw = data[at + 1 : after]
        name = self._names.get(raw)
        if name is None:
            if len(self._names) >= 1000:
                self._names.clear()
            name = self._names[raw] = raw.decode("utf-8", "replace")
        return name, after

    def _body(self, sink: ContentSink, channel: int, message: Incoming, piece: bytes) -> None:
        message.missing -= len(piece)
        if not message.body:
            message.body = piece
        elif len(message.body) < LARGEST_KEPT_BODY_BYTES:
            message.body += piece
        if message.missing <= 0:
            self._complete(sink, channel, message)

    def _complete(self, sink: ContentSink, channel: int, message: Incoming) -> None:
        del self._partial[channel]
        if len(message.body) > LARGEST_KEPT_BODY_BYTES:
            message.body = message.body[:LARGEST_KEPT_BODY_BYTES]
        sink.delivered(message)
