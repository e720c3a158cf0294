"""The port to a cache that may vanish at any time (DESIGN.md, R34): display copies and immutable values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from callboard.health import Degraded

COPY_SECONDS = 30.0
"""So old may a display copy be at most, counted from before it was read or written in the database."""
KEPT_SECONDS = 600.0
"""So long an immutable value is kept after its last writing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCounts:
    """Since the start: reads that found something, reads that did not, and reads that never asked a server."""

    hits: int = 0
    misses: int = 0
    bypasses: int = 0


class Cache(Protocol):
    """Holds nothing that cannot be read again from the database.

    No method raises because the cache is away, full, damaged or slow, and none takes longer than 0.6 s then. Values are
    what JSON can carry; a caller must take a value of another release for a miss. Keys come from `cache_key`.

    A read after one's own `put_copy` of a version never gives an older one; what others put is at most `COPY_SECONDS`
    old. Nothing that was cached before the cache was away is read after it.
    """

    async def copy(self, key: str) -> Any | None:
        """The display copy under a key, None when there is none to be trusted."""
        ...

    async def kept(self, key: str) -> Any | None:
        """The immutable value under a key, None when there is none."""
        ...

    def put_copy(self, key: str, version: int, make: Callable[[], bytes] | None, *, seen_at: float) -> None:
        """Offers a copy, which is written soon and only where none newer is; returns at once, may be lost.

        Call it after the commit. `make` gives the value as JSON; it is called at once or never. None says only that
        older copies are out of date. `seen_at` is the monotonic time before the database was read or written: a copy
        that comes late is the older for it.
        """
        ...

    def keep(self, key: str, make: Callable[[], bytes]) -> None:
        """Offers a value that never changes, as JSON; returns at once, may be lost."""
        ...

    def counts(self) -> CacheCounts:
        """How often it was of use."""
        ...

    async def ping(self) -> Degraded | None:
        """`Degraded` while it is bypassed; never raises."""
        ...

    async def start(self) -> None:
        """Call it before any other; does not fail because the server is away."""
        ...

    async def close(self) -> None:
        """Lets go of the server; what was offered and not yet written is lost."""
        ...


class NoCache:
    """The cache of an installation without one: every read is one of the database."""

    def __init__(self) -> None:
        self._bypasses = 0

    async def copy(self, key: str) -> Any | None:
        self._bypasses += 1
        return None

    async def kept(self, key: str) -> Any | None:
        self._bypasses += 1
        return None

    def put_copy(self, key: str, version: int, make: Callable[[], bytes] | None, *, seen_at: float) -> None:
        pass

    def keep(self, key: str, make: Callable[[], bytes]) -> None:
        pass

    def counts(self) -> CacheCounts:
        return CacheCounts(bypasses=self._bypasses)

    async def ping(self) -> Degraded | None:
        return None

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass


def cache_key(tenant: str, kind: str, *parts: str) -> str:
    """One key for each way of naming a thing: what the parts contain cannot make two things one."""
    return ":".join((quote(tenant, safe=""), kind, *(quote(part, safe="") for part in parts)))
