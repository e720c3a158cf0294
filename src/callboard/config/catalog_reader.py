"""Catalogs for everybody: the one in force, any earlier one by its number, histories, differences, rollbacks."""

from __future__ import annotations

import asyncio
import difflib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from pydantic import ValidationError

from callboard.clock import Clock
from callboard.config.catalog import Catalog, CatalogEntry, Rejection, rejection_of
from callboard.config.definition import AgentDefinition
from callboard.errors import ConflictError, UnavailableError
from callboard.logs import StructuredLogger
from callboard.messaging.events import Actor
from callboard.messaging.wakeup import WakeUp
from callboard.state.catalog_store import CatalogStore
from callboard.state.catalogs import CatalogHead, EntryRecord, VersionRecord

Listener = Callable[[Catalog], None]
REFRESH_SECONDS = 5.0
_CATALOGS_KEPT = 32
_Key = tuple[str, int]


class CatalogReader:
    """Reads the database, never a file (DESIGN.md, R22). `current` is as new as the last `refresh`.

    A catalog of a number never changes, so it is kept; definitions are shared between catalogs. `wake` says that there
    may be a newer one.
    """

    def __init__(self, store: CatalogStore, clock: Clock, wake: WakeUp | None = None) -> None:
        self._store = store
        self._clock = clock
        self._wake = wake or WakeUp()
        self._log = StructuredLogger("catalog")
        self._catalogs: OrderedDict[int, Catalog] = OrderedDict()
        self._current = Catalog(number=0)
        self._loaded = False
        self._listeners: list[Listener] = []

    def current(self) -> Catalog:
        """The newest catalog known here."""
        return self._current

    async def catalog(self, number: int) -> Catalog:
        """The catalog that a run started with; NotFoundError for a number that was never reached."""
        known = self._catalogs.get(number)
        if known is None:
            known = await self._load(await self._store.head(number))
        self._keep(known)
        return known

    def subscribe(self, listener: Listener) -> None:
        """`listener` is called on the event loop with each new catalog; it must return soon and not raise."""
        self._listeners.append(listener)

    async def refresh(self) -> Catalog:
        """Loads the newest catalog and tells the listeners where it is another one; costs next to nothing if not."""
        if self._loaded and await self._store.newest() <= self._current.number:
            return self._current
        catalog = await self.adopt(await self._store.head())
        self._loaded = True
        return catalog

    async def adopt(self, head: CatalogHead) -> Catalog:
        """Makes `head` the current catalog, unless a newer one is current already."""
        if head.number > self._current.number:
            catalog = await self._load(head)
            if catalog.number > self._current.number:
                self._current = catalog
                self._keep(catalog)
                for listener in self._listeners:
                    listener(catalog)
        return self._current

    async def follow(self) -> None:
        """Refreshes for ever: when it is woken, and every few seconds for the announcements that were lost."""
        polling = asyncio.create_task(self._wake.poll(self._clock, REFRESH_SECONDS))
        try:
            while True:
                await self._wake.wait()
                try:
                    await self.refresh()
                except UnavailableError as error:
                    self._log.warning("the catalog stays as it is", reason=error.message)
        finally:
            polling.cancel()

    async def rejections(self) -> list[Rejection]:
        """Every file whose content is refused now, by path."""
        return [rejection_of(record) for record in await self._store.rejections()]

    async def history(self, name: str) -> list[VersionRecord]:
        """Every version of an agent, newest first; NotFoundError for one that never was."""
        found = await self._store.history(name)
        if not found:
            self._current.agent(name)
        return found

    async def version(self, name: str, version: int) -> VersionRecord:
        """Raises NotFoundError naming the versions there are."""
        return await self._store.version(name, version)

    async def entry(self, name: str, version: int) -> CatalogEntry:
        """A version of an agent as if it were in force; NotFoundError naming the versions there are."""
        record = await self._store.version(name, version)
        return CatalogEntry(
            definition=_definition(record),
            version=version,
            digest=record.digest,
            path=record.path,
            latest=version,
            latest_digest=record.digest,
            warnings=record.warnings,
        )

    async def diff(self, name: str, old: int, new: int) -> str:
        """The unified difference of two versions' texts; empty where they are equal."""
        before, after = await self._store.version(name, old), await self._store.version(name, new)
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(
                before.source.splitlines(keepends=True),
                after.source.splitlines(keepends=True),
                f"{before.path} v{old}",
                f"{after.path} v{new}",
            )
        )

    async def rollback(self, name: str, version: int, actor: Actor) -> Catalog:
        """Pins an agent to a version until its file's next change or `unpin`.

        NotFoundError for an agent or version that is not there; ConflictError where a slash command of that version
        belongs to another agent by now.
        """
        catalog = await self.refresh()
        catalog.agent(name)
        wanted = _definition(await self._store.version(name, version))
        for command in wanted.slack.commands:
            owner = catalog.command_owner(command)
            if owner is not None and owner.name != name:
                raise ConflictError(
                    f"v{version} of '{name}' answers {command}, which belongs to '{owner.name}' by now: "
                    f"take the command from '{owner.name}' first",
                    code="command_taken",
                )
        return await self.adopt(await self._store.pin(name, version, actor))

    async def unpin(self, name: str, actor: Actor) -> Catalog:
        """The newest version of an agent is in force again; NotFoundError."""
        return await self.adopt(await self._store.unpin(name, actor))

    async def _load(self, head: CatalogHead) -> Catalog:
        known = {
            (entry.name, entry.version): entry
            for catalog in (*self._catalogs.values(), self._current)
            for entry in catalog.agents.values()
        }
        missing = [(item.name, item.version) for item in head.entries if (item.name, item.version) not in known]
        loaded = {(record.name, record.version): record for record in await self._versions(missing)}
        agents = await asyncio.to_thread(self._agents, head, known, loaded)
        return Catalog(number=head.number, agents=MappingProxyType(agents))

    def _agents(
        self, head: CatalogHead, known: Mapping[_Key, CatalogEntry], loaded: Mapping[_Key, VersionRecord]
    ) -> dict[str, CatalogEntry]:
        """Off the event loop: thousands of definitions are validated when a process starts."""
        agents: dict[str, CatalogEntry] = {}
        for item in head.entries:
            entry = known.get((item.name, item.version))
            if entry is not None:
                agents[item.name] = _entry(item, entry.definition, entry.warnings)
            elif (item.name, item.version) in loaded:
                record = loaded[item.name, item.version]
                try:
                    agents[item.name] = _entry(item, _definition(record), record.warnings)
                except ValidationError as error:
                    self._log.error(
                        "stored definition not valid in this release; the agent is left out until its file changes",
                        agent_id=item.name,
                        version=item.version,
                        problems=error.error_count(),
                    )
        return agents

    async def _versions(self, wanted: Sequence[tuple[str, int]]) -> Sequence[VersionRecord]:
        return await self._store.versions(wanted) if wanted else ()

    def _keep(self, catalog: Catalog) -> None:
        self._catalogs[catalog.number] = catalog
        self._catalogs.move_to_end(catalog.number)
        while len(self._catalogs) > _CATALOGS_KEPT:
            self._catalogs.popitem(last=False)


def _definition(record: VersionRecord) -> AgentDefinition:
    return AgentDefinition.model_validate(record.definition)


def _entry(item: EntryRecord, definition: AgentDefinition, warnings: tuple[str, ...]) -> CatalogEntry:
    return CatalogEntry(
        definition=definition,
        version=item.version,
        digest=item.digest,
        path=item.path,
        pinned=item.pinned,
        latest=item.latest,
        latest_digest=item.latest_digest,
        warnings=warnings,
    )
