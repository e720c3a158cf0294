"""How a call could carry away what a run has read (RELIABILITY.md, H2); pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from pydantic import JsonValue

from callboard.agents.tools.tool import ToolTraits
from callboard.config.tool_settings import ToolSettings
from callboard.llm.provider import Message

PLAIN_PATH_CHARS = 40
PLAIN_HOST_CHARS = 50
"""A longer path or host name could spell out what the run has read; so could any query."""
_URL = re.compile(r"[a-z][a-z0-9+.-]{1,20}:[/\\]{2}[^\s\"'<>`]{1,8000}", re.IGNORECASE)
_MOST_URLS = 50


def is_tainted(messages: Sequence[Message]) -> bool:
    """Whether the model has been shown what strangers may have written."""
    return any(message.untrusted for message in messages)


def exposure(
    traits: ToolTraits, settings: ToolSettings, arguments: Mapping[str, JsonValue], *, user_said: str
) -> str | None:
    """How the call could carry data out, in words; None when it cannot.

    A tool that sends out always can. Any other can by a URL with room for data in it, unless its host stands in what
    the person said or in the tool's own `allow`.
    """
    if traits.sends_out:
        return "this tool carries data out"
    allowed = settings.with_.get("allow")
    hosts = [host for host in allowed if isinstance(host, str)] if isinstance(allowed, list) else []
    for url in _urls(arguments):
        host = _host(url)
        if _has_room(url, host) and not _known(host, hosts, user_said):
            return f"a URL in its arguments could carry data to {host or 'an unknown host'}"
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


def _has_room(url: str, host: str) -> bool:
    try:
        parts = urlsplit(url.replace("\\", "/"))
    except ValueError:
        return True
    return bool(
        parts.query
        or parts.fragment
        or "@" in parts.netloc
        or not host
        or len(parts.path) > PLAIN_PATH_CHARS
        or len(host) > PLAIN_HOST_CHARS
    )


def _known(host: str, allowed: Sequence[str], user_said: str) -> bool:
    if not host:
        return False
    if any(host.endswith(name[1:].lower()) if name.startswith("*.") else host == name.lower() for name in allowed):
        return True
    # As a word of its own: `evil-example.com` is not `example.com`.
    return re.search(rf"(?<![\w.-]){re.escape(host)}(?![\w-]|\.\w)", user_said, re.IGNORECASE) is not None
