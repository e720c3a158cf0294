"""PostgreSQL behind the database port: SQLAlchemy's Core over asyncpg, units of work in `run_sync`.

Each batch unit has a coalescer of its own without a timer: what queued during its last commit is its next batch
(DESIGN.md, R36). Transactions that met another one's are run again. A commit whose outcome is unknown is settled by
asking the server what became of the transaction, or, for a batch unit, by running it again: those know their own work
by its keys (R7).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.util import greenlet_spawn

from callboard.errors import CallboardError, UnavailableError
from callboard.ids import RandomIds, fraction
from callboard.state.database import is_one_statement
from callboard.state.sql import migrating
from callboard.state.sql.postgres_engine import Timeouts, make_engine, normalised
from callboard.state.sql.postgres_errors import Kind, kind_of, location, shown, unavailable
from callboard.state.sql.postgres_links import Link, Links
from callboard.state.sql.postgres_shortcuts import SHORTCUTS, UNHANDLED, Shortcut

T = TypeVar("T")
Item = TypeVar("Item")

GROUP = 64
"""At most so many items share a commit, so that no caller waits for an unbounded one."""
TRIES = 8
"""So often is a unit run that other transactions get in the way of, or whose connection breaks."""
TAKEN_TRIES = 3
WRITE = "BEGIN"
READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class _UnknownError(Exception):
    """The connection broke while it committed; `value` counts if the transaction did."""

    def __init__(self, value: Any, transaction: str | None) -> None:
        super().__init__("the outcome of a commit is unknown")
        self.value = value
        self.transaction = transaction


class PostgresDatabase:
    """The `Database` port over one PostgreSQL database."""

    def __init__(self, url: str, *, pool_size: int = 10, timeouts: Timeouts | None = None) -> None:
        """Opens nothing yet. `url` is libpq's, several hosts and `target_session_attrs` included; InvalidInputError."""
        self._dsn = normalised(url)
        self._where = location(self._dsn)
        self._ids = RandomIds()
        self._timeouts = timeouts or Timeouts()
        self._engine = make_engine(self._dsn, self._timeouts, isolation_level="AUTOCOMMIT")
        self._links = Links(
            self._engine,
            self._where,
            size=max(2, pool_size),
            connect_seconds=self._timeouts.connect,
            wait_seconds=self._timeouts.busy,
        )
        self._coalescers: dict[Callable[..., Any], _Coalescer] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._closing = False
        self.again: Counter[Kind] = Counter()
        """How often a transaction was run again, by reason."""

    @property
    def where(self) -> str:
        """Host, port and database: what may be shown."""
        return self._where

    @property
    def connections(self) -> int:
        return self._links.open

    async def start(self) -> None:
        """Begins to look for the server; its absence is no error: calls say so, and the search goes on."""
        await self._links.start()

    async def migrate(self) -> None:
        """Runs the migrations that are missing; may be repeated, and done by several at once. UnavailableError."""
        await self.with_engine(migrating.upgrade)

    async def with_engine(self, function: Callable[[Engine], T]) -> T:
        """Runs a synchronous function over an engine of its own, without limits of time: for migrations."""
        engine = make_engine(self._dsn, None)
        try:
            return await greenlet_spawn(function, engine.sync_engine)
        except Exception as error:  # what a migration raises is shown without the password
            raise shown(error, self._where) from error
        finally:
            await engine.dispose()

    async def write(self, unit: Callable[[Connection], T], *, repeatable: bool = False) -> T:
        return await self._shielded(self._transact(unit, WRITE, repeatable=repeatable))

    async def read(self, unit: Callable[[Connection], T]) -> T:
        return await self._shielded(self._transact(unit, READ, repeatable=True))

    async def batch(self, unit: Callable[[Connection, Sequence[Item]], Sequence[T]], item: Item) -> T:
        self._check_open()
        coalescer = self._coalescers.get(unit)
        if coalescer is None:
            coalescer = self._coalescers[unit] = _Coalescer(unit)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        coalescer.pending.append((item, future))
        if not coalescer.busy:
            coalescer.busy = True
            self._spawn(self._drain(coalescer))
        return await future  # type: ignore[no-any-return]  # the unit's own type

    async def ping(self) -> None:
        await self.read(lambda connection: connection.execute(text("SELECT 1")).scalar())

    async def close(self) -> None:
        self._closing = True
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)
        await self._links.close()
        await self._engine.dispose()

    async def _shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """A caller that goes away disturbs nobody: what it began is carried out."""
        if self._closing:
            work.close()
        self._check_open()
        return await asyncio.shield(self._spawn(work))

    def _check_open(self) -> None:
        if self._closing:
            raise UnavailableError(f"the database {self._where} is closed")

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that went away does not hear it

    async def _drain(self, coalescer: _Coalescer) -> None:
        try:
            while coalescer.pending:
                group = [coalescer.pending.popleft() for _ in range(min(GROUP, len(coalescer.pending)))]
                await self._run_group(coalescer.unit, [entry for entry in group if not entry[1].done()])
        finally:
            coalescer.busy = False

    async def _run_group(
        self, unit: Callable[..., Sequence[Any]], group: Sequence[tuple[Any, asyncio.Future[Any]]]
    ) -> None:
        """One transaction; a group that fails for its own reasons is halved until the bad items stand alone."""
        if not group:
            return
        items = [item for item, _ in group]
        try:
            values = await self._results(unit, items)
        except Exception as error:  # noqa: BLE001  # it belongs to the callers
            if len(group) > 1 and not isinstance(error, UnavailableError):
                middle = len(group) // 2
                await self._run_group(unit, group[:middle])
                await self._run_group(unit, group[middle:])
                return
            for _, future in group:
                if not future.done():
                    future.set_exception(error if len(group) == 1 else UnavailableError(str(error)))
            return
        for (_, future), value in zip(group, values, strict=True):
            if not future.done():
                future.set_result(value)

    async def _results(self, unit: Callable[..., Sequence[T]], items: Sequence[Any]) -> Sequence[T]:
        """Of the shortcut, where the unit has one, and of the unit for what that leaves."""
        shortcut = SHORTCUTS.get(unit)
        if shortcut is None:
            return await self._transact(lambda connection: unit(connection, items), WRITE, repeatable=True)
        results = list(await self._at_once(shortcut, items))
        left = [n for n, result in enumerate(results) if result is UNHANDLED]
        if left:
            rest = [items[n] for n in left]
            found = await self._transact(lambda connection: unit(connection, rest), WRITE, repeatable=True)
            for n, result in zip(left, found, strict=True):
                results[n] = result
        return results

    async def _at_once(self, shortcut: Shortcut, items: Sequence[Any]) -> Sequence[Any]:
        """Whatever goes wrong is the unit's to find out about."""
        link = await self._links.take()
        try:
            results = await shortcut(link.driver, items)
        except Exception as error:  # noqa: BLE001  # the unit meets it too, and tells it apart
            kind = kind_of(error)
            self.again[kind] += 1
            if kind is Kind.LOST:
                self._links.drop(link)
                self._links.lost()
            else:
                self._links.give(link)
            return [UNHANDLED] * len(items)
        except BaseException:  # a cancellation too: what the connection is in the middle of is unknown
            self._links.drop(link)
            raise
        self._links.give(link)
        return results

    async def _transact(self, unit: Callable[[Connection], T], begin: str, *, repeatable: bool) -> T:
        """The unit in a transaction, run again while that can help."""
        tries: Counter[Kind] = Counter()
        while True:
            link = await self._links.take()
            try:
                return await self._attempt(link, unit, begin, repeatable=repeatable)
            except _UnknownError as unknown:
                if not repeatable and await self._has_committed(unknown.transaction):
                    value: T = unknown.value
                    return value
                tries[Kind.LOST] += 1
                self.again[Kind.LOST] += 1
                if tries[Kind.LOST] >= TAKEN_TRIES:
                    raise unavailable(self._where, unknown.__cause__ or unknown) from unknown
            except Exception as error:  # the drivers' errors share no base; `_kind` tells them apart
                kind = _kind(error, link)
                tries[kind] += 1
                if not _may_help(kind, tries):
                    lost = kind is Kind.LOST
                    raise (unavailable(self._where, error) if lost else shown(error, self._where)) from error
                self.again[kind] += 1
                if kind is Kind.AGAIN:
                    await asyncio.sleep(0.01 * fraction(self._ids.new()) * tries.total())  # to part those who met

    async def _attempt(self, link: Link, unit: Callable[[Connection], T], begin: str, *, repeatable: bool) -> T:
        driver = link.driver
        if repeatable and is_one_statement(unit):
            return await self._bare(link, unit)
        try:
            await driver.execute(begin)
            value = await link.connection.run_sync(unit)
            transaction = None if repeatable else await driver.fetchval(_CURRENT)
        except BaseException as error:  # a cancellation too: the transaction is undone
            await self._undo(link, error)
            raise
        try:
            await driver.execute("COMMIT")
        except BaseException as error:  # a cancellation too: whether it has committed is unknown
            await self._undo(link, error)
            if begin == WRITE and kind_of(error) is Kind.LOST:
                raise _UnknownError(value, transaction) from error
            raise
        self._links.give(link)
        return value

    async def _bare(self, link: Link, unit: Callable[[Connection], T]) -> T:
        """A unit whose one statement is its transaction."""
        try:
            value = await link.connection.run_sync(unit)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) or kind_of(error) is Kind.LOST:
                self._links.drop(link)
                self._links.lost()
            else:
                self._links.give(link)
            raise
        self._links.give(link)
        return value

    async def _undo(self, link: Link, error: BaseException) -> None:
        """After this the connection is back in the pool, clean, or gone."""
        if not isinstance(error, asyncio.CancelledError) and kind_of(error) is not Kind.LOST:
            with contextlib.suppress(Exception):
                await link.driver.execute("ROLLBACK")
                self._links.give(link)
                return
        self._links.drop(link)
        if kind_of(error) is Kind.LOST:
            self._links.lost()

    async def _has_committed(self, transaction: str | None) -> bool:
        """What became of a transaction that nobody heard the end of; UnavailableError while nobody can know."""
        if transaction is None:
            return True  # it has written nothing
        for _ in range(TRIES):
            link = await self._links.take()
            try:
                status = await link.driver.fetchval(_STATUS, transaction)
            except Exception as error:  # noqa: BLE001  # told apart below
                await self._undo(link, error)
                if kind_of(error) is not Kind.LOST:
                    return False  # a server that does not know it, as after a failover, has lost it
                continue
            self._links.give(link)
            if status != "in progress":
                return bool(status == "committed")
            await asyncio.sleep(0.1)
        raise UnavailableError(f"the database {self._where} does not say what became of a transaction: try again")


@dataclass(eq=False, slots=True)
class _Coalescer:
    """What waits for the next commit of one batch unit."""

    unit: Callable[..., Sequence[Any]]
    pending: deque[tuple[Any, asyncio.Future[Any]]] = field(default_factory=deque)
    busy: bool = False


_CURRENT = "SELECT pg_current_xact_id_if_assigned()::text"
_STATUS = "SELECT pg_xact_status($1::text::xid8)"


def _kind(error: Exception, link: Link) -> Kind:
    """Of an error in a transaction: on a connection that broke under it, drivers say all sorts of things."""
    kind = kind_of(error)
    broke = kind is Kind.OTHER and link.driver.is_closed() and not isinstance(error, CallboardError)
    return Kind.LOST if broke else kind


def _may_help(kind: Kind, tries: Counter[Kind]) -> bool:
    if kind is Kind.AGAIN:
        return tries[kind] < TRIES
    return kind in (Kind.LOST, Kind.TAKEN) and tries[kind] < TAKEN_TRIES
