"""Which URLs and addresses a tool may reach (RELIABILITY.md, B6 and H3); pure.

A URL is read strictly: what two parsers could read differently is refused, before anything is resolved. Addresses are
judged after resolution, all of a name's at once.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from callboard.agents.tools.tool import ToolError

MAX_URL_CHARS = 8000

_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f\\]")
_MAX_NAME_CHARS = 253
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_IPV6_NETLOC = re.compile(r"\[([0-9a-fA-F:.]+)\](?::[0-9]*)?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_IPV6_UNICAST = ipaddress.IPv6Network("2000::/3")
_REFUSED_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "100.64.0.0/10",  # carriers' own
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",  # benchmarks
        "2001::/23",  # Teredo and other carriers of IPv4 addresses
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: any IPv4 address in disguise
        "3fff::/20",  # documentation
    )
)


class UnsafeUrlError(ToolError):
    """Refused before any connection was made."""

    code = "unsafe_url"


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlPolicy:
    """What one agent's HTTP tools may reach.

    `permitted` holds `host:port` as URLs name them: there http and private addresses are allowed (a process setting,
    for tests and for services of one's own). `allow`, when not None, is all an agent may reach: host names, or `*.x`
    for every name below x. `http` allows http to public addresses.
    """

    permitted: frozenset[str] = frozenset()
    allow: tuple[str, ...] | None = None
    http: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL that passed; `host` is lower case, an IPv6 address without its brackets."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """`host:port`, as `UrlPolicy.permitted` writes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def host_header(self) -> str:
        default = 443 if self.scheme == "https" else 80
        return self.authority.removesuffix(f":{default}") if self.port == default else self.authority

    @property
    def is_address(self) -> bool:
        return ":" in self.host or _NUMBER.fullmatch(self.host.rpartition(".")[2]) is not None


def check_url(url: str, policy: UrlPolicy) -> Target:
    """Raises UnsafeUrlError with the reason, in words for the model."""
    if len(url) > MAX_URL_CHARS or not url.isascii() or _NOT_IN_URL.search(url):
        raise UnsafeUrlError(
            f"refused: a URL is at most {MAX_URL_CHARS} ASCII characters without spaces, control characters and "
            f"backslashes; write others percent-encoded, and host names in their xn-- form"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UnsafeUrlError("refused: the URL's host or port is malformed") from None
    if parts.scheme not in ("http", "https") or not url.lower().startswith(f"{parts.scheme}://"):
        raise UnsafeUrlError("refused: only https:// URLs can be fetched")
    if "@" in parts.netloc:
        raise UnsafeUrlError("refused: a URL must not carry a user name or password")
    default = 443 if parts.scheme == "https" else 80
    target = Target(url=url, scheme=parts.scheme, host=_host(parts.netloc), port=default if port is None else port)
    if not 0 < target.port < 65536:
        raise UnsafeUrlError("refused: the URL's port is malformed")
    if policy.allow is not None and not any(_covers(pattern, target.host) for pattern in policy.allow):
        raise UnsafeUrlError(f"refused: {target.host} is not on this agent's list of allowed hosts")
    if target.scheme == "http" and not policy.http and target.authority not in policy.permitted:
        raise UnsafeUrlError("refused: plain http is not allowed here; use https")
    return target


def check_addresses(target: Target, addresses: Sequence[str], policy: UrlPolicy) -> None:
    """Raises UnsafeUrlError unless every address is public, or the target is permitted explicitly.

    One private address among public ones refuses all: which one is used is not left to chance.
    """
    if target.authority in policy.permitted:
        return
    if not all(is_public(address) for address in addresses):
        raise UnsafeUrlError(f"refused: {target.host} is not a public address")


def is_public(address: str) -> bool:
    """Whether an IP address belongs to a host on the internet; False for anything that is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed not in _IPV6_UNICAST:
        return False
    if any(parsed in network for network in _REFUSED_NETWORKS):
        return False
    return parsed.is_global and not (parsed.is_multicast or parsed.is_reserved or parsed.is_private)


def _host(netloc: str) -> str:
    """The host of a netloc without user name; numbers in any form but four plain decimals are refused."""
    if netloc.startswith("["):
        found = _IPV6_NETLOC.fullmatch(netloc)
        try:
            return str(ipaddress.IPv6Address(found[1] if found else ""))
        except ValueError:
            raise UnsafeUrlError("refused: the URL's IPv6 address is malformed") from None
    host = netloc.partition(":")[0].lower().removesuffix(".")
    if len(host) > _MAX_NAME_CHARS or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise UnsafeUrlError("refused: the URL's host is malformed")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise UnsafeUrlError("refused: write an IPv4 address as four decimal numbers") from None
    return host


def _covers(pattern: str, host: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:].lower())
    return host == pattern.lower()
