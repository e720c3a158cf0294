"""Which addresses an answer or a file may be posted to; pure.

These URLs come from outside. Posting to whatever one says would let a forged one reach services that only we can
reach (RELIABILITY.md, finding 12), so it is checked before any connection is made.
"""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import urlsplit

import httpx2

from callboard.errors import ForbiddenError
from callboard.messaging.reply import ReplyTo

MAX_USES = 5
"""Slack: "You can respond up to 5 times within 30 minutes"."""

_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+slack\.com")
_PRINTABLE = re.compile(r"[!-\[\]-~]{1,2000}")


def check_response_url(url: str, *, local_host: str | None = None) -> str:
    """The URL itself when it is `https://*.slack.com/…`, or on `local_host` (that of `SLACK_API_URL`).

    Raises ForbiddenError otherwise: other hosts or schemes, ports, user names, backslashes, white space. Two parsers
    must agree on the host, since they do not agree on everything.
    """
    return _checked(url, local_host, "response_url")


def check_upload_url(url: str, *, local_host: str | None = None) -> str:
    """The same for the URL that Slack names for the bytes of a file."""
    return _checked(url, local_host, "upload_url")


def usable_response_url(target: ReplyTo, *, uses: int, now: datetime) -> str | None:
    """The target's response URL while Slack still takes messages there."""
    if target.response_url is None or uses >= MAX_USES:
        return None
    if target.expires_at is not None and now >= target.expires_at:
        return None
    return target.response_url


def _checked(url: str, local_host: str | None, field: str) -> str:
    problem = _problem(url, local_host)
    if problem is None:
        return url
    name = field.replace("_url", " URL")
    raise ForbiddenError(f"the {name} was refused: {problem}", code=f"{field}_refused", field=field)


def _problem(url: str, local_host: str | None) -> str | None:
    if _PRINTABLE.fullmatch(url) is None:
        return "it has characters that no URL has"
    try:
        parts, second = urlsplit(url), httpx2.URL(url)
        host, port, second_host = parts.hostname, parts.port, second.host
    except (ValueError, httpx2.InvalidURL):
        return "it cannot be read"
    if "@" in parts.netloc or second.userinfo:
        return "it has a user name"
    if not host or host != second_host or (parts.scheme, port) != (second.scheme, second.port or port):
        return "it can be read in two ways"
    if local_host is not None and host == local_host.lower() and parts.scheme in ("http", "https"):
        return None
    if parts.scheme != "https":
        return "its scheme is not https"
    if port not in (None, 443) or _HOST.fullmatch(host) is None:
        return "its host is not Slack's"
    return None
