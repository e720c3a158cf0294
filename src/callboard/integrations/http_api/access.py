"""Who calls, and whether they may: one principal and one question for every route (DESIGN.md, R33)."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from callboard.errors import ForbiddenError, UnauthorizedError
from callboard.messaging.events import Actor

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a request was proven to come from: the holder of the token, or somebody on this machine."""

    id: str
    tenant: str = "default"

    def actor(self) -> Actor:
        """As records of what was done name them."""
        return Actor(kind="api", id=self.id, via="http")


Allow = Callable[[Principal, str, str], None]
"""(who, action such as `run.cancel`, object or `*`): returns, or raises ForbiddenError."""

LOCAL = Principal(id="local")
TOKEN = Principal(id="token")


def allow_all(principal: Principal, action: str, target: str) -> None:
    """Whoever is let in may do everything."""


def identify(method: str, headers: Headers, token: str | None) -> Principal:
    """The caller of a request. Raises UnauthorizedError, and ForbiddenError where only this machine is let in.

    Without a token whoever reaches the port is let in, so a browser on this machine must not be made to: the Host must
    be this machine's (a name that was rebound is refused), no proxy may have passed the request on, and a write must
    be JSON, which no page of another origin can send without asking first.
    """
    if token is not None:
        _check_bearer(headers.getlist("authorization"), token)
        return TOKEN
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not is_loopback(hosts[0]):
        raise ForbiddenError(
            "without CALLBOARD_API_TOKEN the API answers this machine only: call it as http://127.0.0.1:PORT, "
            "or set a token",
            code="local_only",
        )
    if any(name in headers for name in _FORWARDED):
        raise ForbiddenError(
            "a proxy passed this request on: set CALLBOARD_API_TOKEN to use the API through it", code="local_only"
        )
    if method not in _READS:
        _check_write(headers)
    return LOCAL


def is_loopback(host: str) -> bool:
    """Whether a Host header (`name`, `name:port`, `[::1]:port`) is this machine."""
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if parts.path or parts.query or parts.fragment or parts.username is not None or name is None:
        return False
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _check_bearer(given: list[str], token: str) -> None:
    scheme, _, value = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    expected = token.encode()
    if scheme.lower() != "bearer" or not hmac.compare_digest(value.strip().encode("utf-8", "replace"), expected):
        raise UnauthorizedError("send Authorization: Bearer with the value of CALLBOARD_API_TOKEN")


def _check_write(headers: Headers) -> None:
    kind = headers.get("content-type")
    if kind is None:
        # Only a browser adds an Origin; a command-line client that posts nothing needs no type for it.
        if "origin" not in headers and headers.get("content-length", "0") == "0":
            return
    elif kind.partition(";")[0].strip().lower() == "application/json":
        return
    raise ForbiddenError("without CALLBOARD_API_TOKEN a write needs Content-Type: application/json", code="json_only")
