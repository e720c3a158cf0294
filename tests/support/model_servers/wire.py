"""What every fake model server understands and answers, whatever bytes it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Finish = Literal["stop", "tool_calls", "length", "content_filter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, understood: the last text of the user, the result of a call made since, and whether to stream."""

    model: str
    text: str
    result: str | None
    stream: bool
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call; `arguments` is what stands between the lines, JSON or not."""

    name: str
    arguments: str = "{}"
    id: str = "call_abc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """An answer; `finish` None leaves the finish reason out, as a server that broke off does."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    finish: Finish | None = "stop"
    input_tokens: int = 10
    output_tokens: int = 3
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one request. Without a status or a body it is answered, late (`wait_seconds`) or in part
    (`pieces` of a stream, then the connection is `aborted`, or ends as if all had been said)."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    says: Says | None = None
    wait_seconds: float = 0.0
    pieces: int | None = None
    aborted: bool = False


class Wire(Protocol):
    """One wire format."""

    path: str
    """A pattern for the server's router."""
    key_header: str

    def asked(self, path: str, body: Mapping[str, Any]) -> Asked: ...

    def whole(self, asked: Asked, says: Says) -> bytes: ...

    def pieces(self, asked: Asked, says: Says) -> list[bytes]:
        """A stream's events, the last of which ends it."""
        ...

    def error(self, status: int, message: str) -> tuple[bytes, Mapping[str, str]]:
        """The body of an error, and headers that it needs."""
        ...

    stream_type: str


def halves(text: str) -> list[str]:
    """The text in two or three pieces, so that a stream has something to stream."""
    third = max(1, len(text) // 3)
    return [piece for piece in (text[:third], text[third : 2 * third], text[2 * third :]) if piece]
