"""How payloads become bytes: JSON, compressed when that pays, never decompressed without a limit.

One leading byte says which: `J` plain JSON, `Z` JSON under zstd. What cannot come back equal (not-a-number, an instant,
an object that JSON has no form for, more bytes than a reader takes) is refused when it is written, not met when it is
read. Tuples come back as lists, UUIDs and enumerations as their text.
"""

from __future__ import annotations

import math
from typing import Any

import orjson
from backports import zstd

from callboard.errors import InvalidInputError, TooLargeError

COMPRESS_OVER_BYTES = 4096
MAX_DECODED_BYTES = 64 * 1024 * 1024
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS
_PLAIN = b"J"
_ZSTD = b"Z"


def encode(value: Any) -> bytes:
    """Raises InvalidInputError for a value that JSON cannot carry unchanged, TooLargeError for one over the limit."""
    try:
        data = orjson.dumps(value, option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        raise InvalidInputError(f"a value cannot be stored as JSON: {error}") from error
    # The encoder writes not-a-number and infinities as null; only then is the walk worth its time.
    if b"null" in data and not _finite(value):
        raise InvalidInputError("a value cannot be stored as JSON: it holds NaN or an infinity")
    return pack(data)


def pack(data: bytes) -> bytes:
    """The same for a value that is JSON already; TooLargeError."""
    if len(data) > MAX_DECODED_BYTES:
        raise TooLargeError(
            f"a value of {len(data)} bytes cannot be stored: it is over the limit of {MAX_DECODED_BYTES}"
        )
    if len(data) <= COMPRESS_OVER_BYTES:
        return _PLAIN + data
    return _ZSTD + zstd.compress(data, level=1)


def decode(data: bytes) -> Any:
    """The value that `encode` was given; raises InvalidInputError for other bytes, TooLargeError over the limit."""
    kind, body = data[:1], data[1:]
    if kind == _ZSTD:
        body = _decompress(body)
    elif kind != _PLAIN:
        raise InvalidInputError(f"stored bytes begin with {kind!r}: they were not written by Callboard")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(f"stored bytes are damaged: {error}") from error


def _decompress(body: bytes) -> bytes:
    decompressor = zstd.ZstdDecompressor()
    try:
        data = decompressor.decompress(body, max_length=MAX_DECODED_BYTES + 1)
    except zstd.ZstdError as error:
        raise InvalidInputError(f"stored bytes are damaged: {error}") from error
    if len(data) > MAX_DECODED_BYTES:
        raise TooLargeError(f"a stored value is over {MAX_DECODED_BYTES} bytes once decompressed")
    if not decompressor.eof:
        raise InvalidInputError("stored bytes are damaged: the compressed value is cut short")
    return data


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_finite(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_finite(item) for item in value)
    return True
