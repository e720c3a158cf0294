"""The configuration service: from files to catalogs. The only role that reads the folders (DESIGN.md, R22)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

from callboard.clock import Clock
from callboard.config.agent_file import AgentFile
from callboard.config.catalog import Catalog
from callboard.config.catalog_reader import CatalogReader, Listener
from callboard.config.folder_scan import FolderScan, Look, WatchedFolder
from callboard.config.loaded_files import LoadedFiles
from callboard.config.reconcile import Decision, Refused, reconcile
from callboard.config.watcher import UNSETTLED_SECONDS, FolderWatcher, first_of
from callboard.errors import FencedError, UnavailableError, VersionConflictError
from callboard.logs import StructuredLogger
from callboard.messaging.events import Actor
from callboard.state.catalog_store import CatalogStore
from callboard.state.catalogs import CatalogChanges, PutVersion, RejectionRecord
from callboard.state.lock_store import AlwaysHeld, NamedLease

ACTOR = Actor(kind="system", id="config-service", via="file")
_FIRST_LOOKS = 10


class ConfigurationService:
    """Watches, validates, versions and announces definitions.

    `start` makes the catalog right for what stands in the folders; `run` keeps it so. What cannot be applied because
    the database is away is applied when it is back. `known_tools` None accepts every tool's name; it may change, which
    is told by `tools_changed`.

    Of several processes the one that has the lease works. The others wait, look at no file and take over when it is
    gone; one that was stopped meanwhile writes nothing any more.
    """

    def __init__(
        self,
        folders: Sequence[WatchedFolder],
        store: CatalogStore,
        reader: CatalogReader,
        clock: Clock,
        *,
        known_tools: Collection[str] | None = None,
        lease: NamedLease | None = None,
    ) -> None:
        self._scan = FolderScan(folders)
        self._watcher = FolderWatcher(self._scan, clock)
        self._store = store
        self._reader = reader
        self._clock = clock
        self._lease = lease or AlwaysHeld()
        self._active = False
        self._lost = asyncio.Event()
        self._log = StructuredLogger("config-service")
        self._files = LoadedFiles(known_tools, self._fault)
        self._unread: tuple[str, ...] = ()
        self._rejected: dict[str, RejectionRecord] = {}
        self._pending = True
        self._tools_changed = False

    def current(self) -> Catalog:
        """The catalog in force."""
        return self._reader.current()

    async def catalog(self, number: int) -> Catalog:
        """The catalog of that number; NotFoundError."""
        return await self._reader.catalog(number)

    def subscribe(self, listener: Listener) -> None:
        """`listener` is called on the event loop with each new catalog; it must return soon and not raise."""
        self._reader.subscribe(listener)

    def tools_changed(self) -> None:
        """What was refused is looked at again: it may have named a tool that is there now."""
        self._tools_changed = True
        self._watcher.wake()

    @property
    def active(self) -> bool:
        """Whether this process is the one that looks at the files."""
        return self._active

    async def start(self) -> Catalog:
        """Applies what stands in the folders; waits up to half a second for files that are just being written.

        While another process has the lease, gives what that one has applied.
        """
        if not await self._try_to_begin():
            self._log.info("another config-service is active; this one waits")
            await self._reader.refresh()
        return self.current()

    async def run(self, stopped: Callable[[], Awaitable[None]]) -> None:
        """Keeps the catalog right until `stopped()` returns; call `start` before."""
        stop = asyncio.ensure_future(stopped())
        try:
            while not stop.done():
                if self._active:
                    await self._keep_right(stop)
                else:
                    await self._wait_for_turn(stop)
        finally:
            stop.cancel()
            await self._let_go()

    async def _try_to_begin(self) -> bool:
        if not await self._lease.acquire():
            return False
        await self._reader.refresh()
        self._rejected = {record.path: record for record in await self._store.rejections()}
        self._pending = True
        for _ in range(_FIRST_LOOKS):
            look = await self._watcher.look()
            await self._take_in(look)
            if not look.unsettled and not self._files.waiting:
                break
            await self._clock.sleep(UNSETTLED_SECONDS)
        try:
            await self._apply()
        except FencedError:
            return False
        self._active = True
        return True

    async def _wait_for_turn(self, stop: asyncio.Future[None]) -> None:
        try:
            if await self._try_to_begin():
                self._log.info("this config-service is active now")
                return
        except UnavailableError as error:
            self._log.warning("cannot ask for the lease", reason=error.message)
        await first_of(stop, self._clock.sleep(self._lease.beat_seconds / 2))

    async def _keep_right(self, stop: asyncio.Future[None]) -> None:
        """Until it is told to stop, or the lease belongs to another."""
        self._lost.clear()
        renewing = asyncio.create_task(self._renew())

        async def over() -> None:
            await first_of(stop, self._lost.wait())

        try:
            await self._watcher.run(over, self._handle)
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
        if self._lost.is_set():
            self._active = False
            self._log.warning("another config-service has taken over; this one waits")

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(self._lease.beat_seconds)
            try:
                if not await self._lease.acquire():
                    self._lost.set()
            except UnavailableError as error:
                self._log.warning("the lease was not renewed", reason=error.message)

    async def _let_go(self) -> None:
        if self._active:
            self._active = False
            try:
                await self._lease.release()
            except UnavailableError as error:
                self._log.warning("the lease ends by itself", reason=error.message)

    async def _handle(self, look: Look) -> None:
        await self._take_in(look)
        if self._pending:
            try:
                await self._apply()
            except UnavailableError as error:
                self._log.warning("changes of agent files wait for the database", reason=error.message)
            except FencedError:
                self._lost.set()

    async def _take_in(self, look: Look) -> None:
        news = bool(look.changed or look.gone or look.scripts)
        if news:
            await asyncio.to_thread(self._files.take_in, look)
            self._scan.follow(self._files.scripts())
        if self._tools_changed:
            self._tools_changed = False
            news = True
            await asyncio.to_thread(self._files.load_refused)
        unread = (*look.unread, *self._paths_under(look.unlisted), *sorted(self._files.waiting))
        self._pending = self._pending or news or unread != self._unread
        self._unread = unread

    def _paths_under(self, labels: Sequence[str]) -> list[str]:
        """What is in force from folders that cannot be listed: it goes on."""
        return [entry.path for label in labels for entry in self.current() if entry.path.startswith(f"{label}/")]

    def _fault(self, path: str) -> None:
        self._log.error("a file that the loader cannot handle; please report it", file=path, exc_info=True)

    async def _apply(self) -> None:
        while True:
            catalog = self._reader.current()
            decision, changes = await asyncio.to_thread(self._decide, catalog)
            rejections = {record.path: record for record in changes.rejections}
            if not changes.puts and not changes.removes and rejections == self._rejected:
                break
            try:
                head = await self._store.apply(changes, ACTOR, self._lease.guard)
            except VersionConflictError:
                await self._reader.refresh()
                continue
            self._tell(decision, rejections)
            self._rejected = rejections
            await self._reader.adopt(head)
            break
        self._pending = False

    def _decide(self, catalog: Catalog) -> tuple[Decision, CatalogChanges]:
        decision = reconcile(self._files.files(), catalog, self._unread)
        changes = CatalogChanges(
            expected=catalog.number,
            puts=[_put(file) for file in decision.puts],
            removes=decision.removes,
            rejections=[self._rejection(refused, catalog) for refused in decision.refused],
        )
        return decision, changes

    def _rejection(self, refused: Refused, catalog: Catalog) -> RejectionRecord:
        entry = catalog.get(refused.name) if refused.name else None
        known = self._rejected.get(refused.file.path)
        return RejectionRecord(
            path=refused.file.path,
            name=refused.name,
            version=entry.latest + 1 if entry else None,
            digest=refused.file.digest,
            problems=tuple(problem.to_record() for problem in refused.problems),
            created_at=known.created_at if known and known.digest == refused.file.digest else self._clock.now(),
        )

    def _tell(self, decision: Decision, rejections: dict[str, RejectionRecord]) -> None:
        for file in decision.puts:
            self._log.info("agent file in force", agent_id=file.name, file=file.path)
        for name in decision.removes:
            self._log.info("agent removed with its file", agent_id=name)
        for refused in decision.refused:
            if rejections[refused.file.path] != self._rejected.get(refused.file.path):
                first = refused.problems[0]
                self._log.warning(
                    "agent file refused; its last good version goes on",
                    agent_id=refused.name,
                    problem=str(first),
                    problems=len(refused.problems),
                )


def _put(file: AgentFile) -> PutVersion:
    if file.definition is None:
        raise ValueError(f"{file.path} has no definition")
    return PutVersion(
        name=file.definition.name,
        path=file.path,
        digest=file.digest,
        source=file.source,
        definition=file.definition.model_dump(mode="json", by_alias=True),
        warnings=tuple(str(warning) for warning in file.warnings),
    )
