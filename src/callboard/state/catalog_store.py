"""Catalogs as verbs: what config-service applies, and what every other role loads by number (DESIGN.md, R22)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from callboard.clock import Clock
from callboard.ids import Ids
from callboard.messaging.events import Actor
from callboard.state.announcer import Announcer
from callboard.state.catalogs import CatalogChanges, CatalogHead, RejectionRecord, VersionRecord
from callboard.state.database import Database
from callboard.state.finishing import Consequences
from callboard.state.lock_store import Guard
from callboard.state.sql.catalogs import CatalogUnits

if TYPE_CHECKING:
    from sqlalchemy import Connection


class CatalogStore:
    """One tenant's catalogs of one kind. A catalog of a number never changes; every change makes the next number."""

    def __init__(
        self,
        database: Database,
        announcer: Announcer,
        clock: Clock,
        ids: Ids,
        *,
        tenant: str = "default",
        kind: str = "agent",
    ) -> None:
        self._database = database
        self._announcer = announcer
        self._clock = clock
        self._ids = ids
        self._units = CatalogUnits(tenant, kind)

    async def apply(self, changes: CatalogChanges, actor: Actor, guard: Guard | None = None) -> CatalogHead:
        """Applies a decision whole, with a public event for each name it concerns; gives the catalog after it.

        Raises VersionConflictError when the catalog is no longer the one that the decision was made from, and what
        `guard` raises in the same transaction.
        """
        unit = partial(self._units.apply, changes=changes, actor=actor, trace_id=self._ids.new(), now=self._clock.now())

        def guarded(connection: Connection) -> tuple[CatalogHead, Consequences]:
            if guard is not None:
                guard(connection)
            return unit(connection)

        head, told = await self._database.write(guarded)
        self._announcer.offer(told)
        return head

    async def pin(self, name: str, version: int, actor: Actor) -> CatalogHead:
        """Rolls back to a version until the file's next change or `unpin`; NotFoundError."""
        return await self._pin(name, version, actor)

    async def unpin(self, name: str, actor: Actor) -> CatalogHead:
        """Puts the newest version in force again; NotFoundError for a name that is not in the catalog."""
        return await self._pin(name, None, actor)

    async def head(self, number: int | None = None) -> CatalogHead:
        """The newest catalog, or the one of that number; NotFoundError."""
        return await self._database.read(partial(self._units.head, number=number))

    async def newest(self) -> int:
        """The number of the newest catalog; 0 before the first. Cheap enough to be asked every second."""
        return await self._database.read(self._units.newest)

    async def versions(self, wanted: Sequence[tuple[str, int]]) -> list[VersionRecord]:
        """Those of the (name, version) pairs that exist."""
        return await self._database.read(partial(self._units.versions, wanted=wanted))

    async def version(self, name: str, version: int) -> VersionRecord:
        """Raises NotFoundError naming the versions there are."""
        return await self._database.read(partial(self._units.version, name=name, version=version))

    async def history(self, name: str) -> list[VersionRecord]:
        """Every version of a name, newest first; empty for a name never accepted."""
        return await self._database.read(partial(self._units.history, name=name))

    async def rejections(self) -> list[RejectionRecord]:
        """Everything that stands refused in a file now, by path."""
        return await self._database.read(self._units.rejected)

    async def _pin(self, name: str, version: int | None, actor: Actor) -> CatalogHead:
        head, told = await self._database.write(
            partial(
                self._units.pin,
                name=name,
                version=version,
                actor=actor,
                trace_id=self._ids.new(),
                now=self._clock.now(),
            )
        )
        self._announcer.offer(told)
        return head
