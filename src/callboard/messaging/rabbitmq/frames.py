"""AMQP 0-9-1 frames of the hot path, as bytes: publish, properties, ack. Pure.

pika makes an object of each method and each frame; at a hundred messages a turn of the loop that is most of a
process's time. What is written here is read back with pika in the tests.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

FRAME_END = b"\xce"
OVERHEAD_BYTES = 8
"""Header and end of one frame."""
LONGEST_NAME = 255
"""Bytes of a short string: routing keys, queue names, message ids."""

METHOD, HEADER, BODY = 1, 2, 3
DELIVER = 0x003C003C
GET_OK = 0x003C0047
GET_EMPTY = 0x003C0048
RETURN = 0x003C0032
ACK = 0x003C0050
NACK = 0x003C0078
PUBLISH = 0x003C0028
CANCEL = 0x003C001E
GET = 0x003C0046

_HEAD = struct.Struct(">BHI")
_LONG = struct.Struct(">I")
_ACK = struct.Struct(">BHIIQBB")
_CONTENT = struct.Struct(">BHIHHQ")

_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE = 1 << 15, 1 << 13, 1 << 12
_MESSAGE_ID, _TYPE = 1 << 7, 1 << 5
PERSISTENT, TRANSIENT = b"\x02", b"\x01"


def short(text: str) -> bytes:
    """A short string, cut off at the 255 bytes that the protocol has room for."""
    data = text.encode("utf-8", "replace")
    if len(data) > LONGEST_NAME:
        data = data[:LONGEST_NAME].decode("utf-8", "ignore").encode()
    return bytes((len(data),)) + data


def table(entries: Mapping[str, str | int]) -> bytes:
    """A header table of texts and whole numbers."""
    parts = []
    for name, value in entries.items():
        if isinstance(value, int):
            parts.append(short(name) + b"l" + value.to_bytes(8, "big", signed=True))
        else:
            data = value.encode("utf-8", "replace")
            parts.append(short(name) + b"S" + _LONG.pack(len(data)) + data)
    joined = b"".join(parts)
    return _LONG.pack(len(joined)) + joined


def properties(
    headers: bytes,
    *,
    persistent: bool = True,
    content_type: str | None = None,
    message_id: str | None = None,
    kind: str | None = None,
) -> bytes:
    """Flags and values of a message's properties; `headers` is a `table`, `kind` goes into the property `type`."""
    flags = _HEADERS | _DELIVERY_MODE
    before = after = b""
    if content_type is not None:
        flags |= _CONTENT_TYPE
        before = short(content_type)
    if message_id is not None:
        flags |= _MESSAGE_ID
        after = short(message_id)
    if kind is not None:
        flags |= _TYPE
        after += short(kind)
    return flags.to_bytes(2, "big") + before + headers + (PERSISTENT if persistent else TRANSIENT) + after


def publish_method(channel: int, exchange: str, routing_key: str, *, mandatory: bool) -> bytes:
    """The method frame of `basic.publish`; the same for every message to one place."""
    payload = (
        _LONG.pack(PUBLISH) + b"\x00\x00" + short(exchange) + short(routing_key) + (b"\x01" if mandatory else b"\x00")
    )
    return _HEAD.pack(METHOD, channel, len(payload)) + payload + FRAME_END


def content(channel: int, props: bytes, body: bytes, frame_max: int) -> bytes:
    """Header and body frames."""
    size = len(body)
    head = _CONTENT.pack(HEADER, channel, 12 + len(props), 60, 0, size) + props + FRAME_END
    room = frame_max - OVERHEAD_BYTES
    if size == 0:
        return head
    if size <= room:
        return head + _HEAD.pack(BODY, channel, size) + body + FRAME_END
    parts = [head]
    for start in range(0, size, room):
        piece = body[start : start + room]
        parts += (_HEAD.pack(BODY, channel, len(piece)), piece, FRAME_END)
    return b"".join(parts)


def ack(channel: int, tag: int, *, multiple: bool) -> bytes:
    return _ACK.pack(METHOD, channel, 13, ACK, tag, multiple, 0xCE)


def get(channel: int, queue: str) -> bytes:
    """`basic.get` with acks."""
    payload = _LONG.pack(GET) + b"\x00\x00" + short(queue) + b"\x00"
    return _HEAD.pack(METHOD, channel, len(payload)) + payload + FRAME_END
