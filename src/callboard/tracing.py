"""W3C Trace Context, level 1: the trace id that ties every record, message and log line of one request together.

What comes from outside is untrusted: anything that is not exactly the format of the specification is
treated as absent, and a new id is made.
"""

from __future__ import annotations

import re
import secrets

_TRACE_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?", re.ASCII)
_LONGEST_HEADER = 512
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


def generate_trace_id() -> str:
    """A new random trace id: 32 lower-case hexadecimal characters, not all zero."""
    return secrets.token_hex(16)


def is_trace_id(value: object) -> bool:
    """Whether it is a valid W3C trace id."""
    return isinstance(value, str) and _TRACE_ID.fullmatch(value) is not None and value != _NO_TRACE


def parse_traceparent(header: str | bytes | None) -> str | None:
    """The trace id of a `traceparent` header; None when the header is missing or breaks the specification.

    Version ff is forbidden; version 00 has exactly four fields; later versions may append some.
    """
    if header is None or len(header) > _LONGEST_HEADER:
        return None
    text = header.decode("ascii", "replace") if isinstance(header, bytes) else header
    match = _TRACEPARENT.fullmatch(text.strip(" \t"))
    if match is None:
        return None
    version, trace_id, span_id, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    return None if trace_id == _NO_TRACE or span_id == _NO_SPAN else trace_id


def trace_id_from(header: str | bytes | None) -> str:
    """The trace id of a `traceparent` header, or a new one when there is none that can be trusted."""
    return parse_traceparent(header) or generate_trace_id()


def format_traceparent(trace_id: str, span_id: str | None = None) -> str:
    """The header to send with an outgoing request or message; the span id is random when none is given.

    A ValueError when `trace_id` is not a trace id: a header of that kind would be dropped by every receiver.
    """
    if not is_trace_id(trace_id):
        raise ValueError(f"not a W3C trace id: {trace_id!r} (32 lower-case hexadecimal characters, not all zero)")
    return f"00-{trace_id}-{span_id or secrets.token_hex(8)}-01"
