"""W3C trace context: what is valid is honoured, everything else begins a new trace (RELIABILITY.md: H12)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.tracing import (
    format_traceparent,
    generate_trace_id,
    is_trace_id,
    parse_traceparent,
    trace_id_from,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "header",
    [f"00-{TRACE}-{SPAN}-01", f" 00-{TRACE}-{SPAN}-00\t", f"cc-{TRACE}-{SPAN}-01-more", f"cc-{TRACE}-{SPAN}-01"],
)
def test_a_valid_header_gives_its_trace(header: str) -> None:
    assert parse_traceparent(header) == trace_id_from(header.encode()) == TRACE


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "garbage",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}",
        f"00-{'٤' * 32}-{SPAN}-01",
        'a","level":"x',
        f"cc-{TRACE}-{SPAN}-01-{'x' * 10_000}",
        b"\xff\xfe",
    ],
)
def test_H12_anything_else_begins_a_new_trace(header: str | bytes | None) -> None:
    assert parse_traceparent(header) is None
    assert is_trace_id(trace_id_from(header))


@given(st.text() | st.binary())
def test_H12_no_input_breaks_the_parser(header: str | bytes) -> None:
    assert is_trace_id(trace_id_from(header))


def test_what_is_formatted_is_parsed() -> None:
    trace_id = generate_trace_id()
    assert parse_traceparent(format_traceparent(trace_id)) == trace_id
    assert format_traceparent(TRACE, SPAN) == f"00-{TRACE}-{SPAN}-01"


def test_an_id_that_is_none_is_not_sent() -> None:
    with pytest.raises(ValueError, match="'nonsense'"):
        format_traceparent("nonsense")


@pytest.mark.parametrize("value", ["", "x" * 32, TRACE + "\n", None, 7, "0" * 32, 'a","level":"x'])
def test_H12_a_client_s_own_id_is_taken_only_if_it_is_one(value: object) -> None:
    assert is_trace_id(TRACE)
    assert not is_trace_id(value)
