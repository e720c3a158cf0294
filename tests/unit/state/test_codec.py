"""Payloads come back equal, or are refused when they are written; no stored bytes can hurt who reads them (D4)."""

from __future__ import annotations

import dataclasses
import enum
import uuid
from datetime import UTC, date, datetime, time
from typing import Any

import orjson
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from callboard.errors import InvalidInputError, TooLargeError
from callboard.state.codec import COMPRESS_OVER_BYTES, MAX_DECODED_BYTES, decode, encode

MIB = 1024 * 1024

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(JSON)
def test_D4_every_json_value_comes_back_equal(value: Any) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize("length", [0, 1, 4093, 4094, 4095, 4096, 5000, MIB - 1, MIB, MIB + 1])
def test_D4_texts_around_every_edge_come_back_equal(length: int) -> None:
    for text in ("x" * length, "é" * (length // 2)):
        assert decode(encode(text)) == text


@pytest.mark.parametrize("value", ["a\x00b", "\x1b[31m", "\u202e", "😀" * 2000, "", {}, [], None, 0, -0.0, 1e308])
def test_D4_odd_values_come_back_equal(value: Any) -> None:
    assert decode(encode(value)) == value


def test_only_what_is_large_is_compressed() -> None:
    assert encode("x" * (COMPRESS_OVER_BYTES - 2))[:1] == b"J"
    large = encode("x" * COMPRESS_OVER_BYTES)
    assert large[:1] == b"Z"
    assert len(large) < 200


def test_D4_fifty_megabytes_come_back_equal() -> None:
    text = "wörter und zahlen 0123456789 " * (50 * MIB // 30)
    assert decode(encode(text)) == text


def test_D4_what_could_not_be_read_again_is_refused_when_it_is_written() -> None:
    with pytest.raises(TooLargeError, match="over"):
        encode("x" * MAX_DECODED_BYTES)


@dataclasses.dataclass
class _Point:
    x: int = 1


class _Colour(enum.Enum):
    RED = "red"


def test_uuids_enumerations_and_tuples_come_back_in_their_json_form() -> None:
    assert decode(encode([uuid.UUID(int=1), _Colour.RED, (1, 2)])) == [str(uuid.UUID(int=1)), "red", [1, 2]]


@pytest.mark.parametrize(
    "wrong",
    [
        float("nan"),
        float("inf"),
        {"a": [1, {"b": float("-inf")}]},
        (None, float("nan")),
        datetime(2026, 1, 1, tzinfo=UTC),
        date(2026, 1, 1),
        time(12, 30),
        b"bytes",
        {1: "a"},
        {"a", "b"},
        2**64,
        "\ud800",
        {"\udfff": 1},
        object(),
        _Point(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_D4_what_would_come_back_changed_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match="cannot be stored as JSON"):
        encode({"value": [wrong]})


def test_D4_ten_thousand_levels_are_refused_without_a_crash() -> None:
    for wrap in (lambda value: [value], lambda value: {"a": value}):
        deep: Any = None
        for _ in range(10_000):
            deep = wrap(deep)
        with pytest.raises(InvalidInputError, match="cannot be stored as JSON"):
            encode(deep)


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"J",
        b"J{",
        b"J\xff",
        b"Z",
        b"Zgarbage",
        b"X{}",
        b"{}",
        b"J" + b"[" * 10_000,
        b"Z" + zstd.compress(b"{"),
        b"Z" + zstd.compress(b'"' + b"x" * 5000 + b'"')[:-3],
    ],
)
def test_damaged_bytes_are_named_so(stored: bytes) -> None:
    with pytest.raises(InvalidInputError):
        decode(stored)


def test_D4_a_decompression_bomb_is_stopped_at_the_limit() -> None:
    compressor = zstd.ZstdCompressor(level=1)
    block = b"0" * MIB
    bomb = b"Z" + b"".join([*(compressor.compress(block) for _ in range(2048)), compressor.flush()])
    assert len(bomb) < MIB
    with pytest.raises(TooLargeError, match="decompressed"):
        decode(bomb)


def test_bytes_of_an_honest_value_at_the_limit_can_be_read() -> None:
    body = orjson.dumps("x" * (MAX_DECODED_BYTES - 2))
    assert len(decode(b"Z" + zstd.compress(body, level=1))) == MAX_DECODED_BYTES - 2
