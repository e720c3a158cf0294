"""Named leases in the database, as verbs: who has one works, all others wait (DESIGN.md, R22)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from callboard.state.database import Database
from callboard.state.sql import locks

if TYPE_CHECKING:
    from sqlalchemy import Connection

LEASE_SECONDS = 10.0
"""Within so much time another process has taken over from one that is gone."""

Guard = Callable[["Connection"], None]
"""A part of a unit of work that raises FencedError once another process has the lease."""


class NamedLease(Protocol):
    """The right to be the one process that does something.

    Ask for it again and again, whether or not it is held: that is what keeps it. A process that was stopped may believe
    that it holds what it has lost, so every transaction that others must not see twice begins with `guard`.
    """

    @property
    def beat_seconds(self) -> float:
        """How often to ask."""
        ...

    async def acquire(self) -> bool:
        """True when it is held now; UnavailableError."""
        ...

    async def release(self) -> None:
        """Lets another process have it at once; UnavailableError."""
        ...

    def guard(self, connection: Connection) -> None:
        """Raises FencedError when it belongs to another; else no other gets it before this transaction ends."""
        ...


class AlwaysHeld:
    """The lease of an installation that has one process, proved by the lock on its data folder."""

    beat_seconds = LEASE_SECONDS

    async def acquire(self) -> bool:
        return True

    async def release(self) -> None:
        pass

    def guard(self, connection: Connection) -> None:
        pass


class DatabaseLease:
    """A lease that is a row, timed by the database's clock alone."""

    def __init__(self, database: Database, name: str, process_id: str, *, seconds: float = LEASE_SECONDS) -> None:
        self._database = database
        self._name = name
        self._process_id = process_id
        # Renewed three times within its life; who waits comes a beat after its end at the latest.
        self._seconds = 0.75 * seconds
        self.beat_seconds = 0.2 * seconds

    async def acquire(self) -> bool:
        return await self._database.write(
            partial(locks.acquire, name=self._name, holder=self._process_id, seconds=self._seconds)
        )

    async def release(self) -> None:
        await self._database.write(partial(locks.release, name=self._name, holder=self._process_id))

    def guard(self, connection: Connection) -> None:
        locks.require(connection, self._name, self._process_id)
