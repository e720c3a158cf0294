"""The body of an HTTP answer as text for a model; pure."""

from __future__ import annotations

import codecs
from email.message import Message

from callboard.agents.tools.pinned_client import HttpAnswer

_TEXT_TYPES = (
    "text/",
    "application/json",
    "application/xml",
    "application/javascript",
    "application/x-www-form-urlencoded",
)
_CHARSETS = frozenset(
    {"utf-8", "utf-8-sig", "ascii", "iso8859-1", "iso8859-15", "cp1252", "utf-16", "shift_jis", "gb18030", "big5"}
)
"""Any other name a server gives is read as UTF-8; a codec is code, and some are slow on purpose."""


def body_text(answer: HttpAnswer) -> str:
    """The decoded body, or one bracketed line about what cannot be shown."""
    if not answer.body and not answer.cut:
        return f"[HTTP status {answer.status}, empty]"
    header = Message()
    header["content-type"] = answer.content_type or "text/plain"
    kind = header.get_content_type()
    if not (kind.startswith(_TEXT_TYPES) or kind.endswith(("+json", "+xml"))):
        return f"[{kind}: not text]"
    if not answer.body:
        return "[compressed, though it was asked not to be]"
    text = answer.body.decode(_charset(header), "replace")
    return f"{text}\n[cut: only the first {len(answer.body)} bytes were read]" if answer.cut else text


def _charset(header: Message) -> str:
    named = header.get_content_charset() or "utf-8"
    try:
        name = codecs.lookup(named).name
    except (LookupError, ValueError):
        return "utf-8"
    return name if name in _CHARSETS else "utf-8"
