"""How a call could carry away what a run has read (RELIABILITY.md, H2); pure."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from pydantic import JsonValue

from callboard.agents.tools.tool import ToolTraits
from callboard.config.tool_settings import ToolSettings
from callboard.llm.provider import Message

_URL = re.compile(r"[a-z][a-z0-9+.-]{1,20}:[/\\]{2}[^\s\"'<>`]{1,8000}", re.IGNORECASE)
_MOST_URLS = 50
_END = r"(?=$|[\s\"'<>()\[\]`,;]|[.!?:](?:$|[\s\"'<>)]))"


def is_tainted(messages: Sequence[Message]) -> bool:
    """Whether the model has been shown what strangers may have written."""
    return any(message.untrusted for message in messages)


def exposure(
    traits: ToolTraits, settings: ToolSettings, arguments: Mapping[str, JsonValue], *, written: Sequence[str]
) -> str | None:
    """How the call could carry data out, in words; None when it cannot.

    A tool that sends out always can. Any other can by a URL that the model has made: its host, path and query could
    spell out what the run has read, to a host that a person named as well as to any other, for that may be the page
    which gives the orders. So a URL must stand in one of the texts of `written` (what the person said, what a page
    linked to), whole, or as a host and a link to a place on it; or its host in the tool's own `allow`.
    """
    if traits.sends_out:
        return "this tool carries data out"
    allowed = settings.with_.get("allow")
    hosts = [host for host in allowed if isinstance(host, str)] if isinstance(allowed, list) else []
    for url in _urls(arguments):
        host = _host(url)
        if not _allowed(host, hosts) and not any(_stands_in(url, text) for text in written):
            return f"a URL of the model's own making could carry data to {host or 'an unknown host'}"
    return None


def _urls(value: JsonValue | Mapping[str, JsonValue]) -> Iterator[str]:
    found = 0
    for text in _texts(value):
        for match in _URL.finditer(text):
            yield match[0]
            found += 1
            if found >= _MOST_URLS:
                # Nobody needs so many: what is beyond counts as one with room.
                yield "https://?"
                return


def _texts(value: JsonValue | Mapping[str, JsonValue]) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield name
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _host(url: str) -> str:
    try:
        return (urlsplit(url.replace("\\", "/")).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _allowed(host: str, allowed: Sequence[str]) -> bool:
    return any(host.endswith(name[1:].lower()) if name.startswith("*.") else host == name.lower() for name in allowed)


def _stands_in(url: str, text: str) -> bool:
    """Whether a model could have read the URL there instead of making it: by no letter more or less."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if not parts.netloc or "@" in parts.netloc or "\\" in url:
        return False
    rest = url[url.index("//") + 2 + len(parts.netloc) :]
    host = rf"(?<![\w.@%-])(?i:{re.escape(parts.netloc)})"
    if rest in ("", "/"):
        return re.search(rf"{host}(?:{_END}|/)", text) is not None
    if "&" in rest:
        text = html.unescape(text)
    if re.search(rf"{host}{re.escape(rest)}{_END}", text) is not None:
        return True
    link = re.search(rf"(?<![^\s\"'(<>\[]){re.escape(rest)}{_END}", text)
    return link is not None and re.search(rf"{host}(?:{_END}|/)", text) is not None
