"""SQLite behind the database port: one writer thread that commits in groups, a few readers beside it.

SQLite has one writer at a time whatever the program does, so the writes queue here, in order, and what queued during
one commit is the next commit (DESIGN.md, R35 and R36). Commits are durable (`synchronous=FULL`); checkpoints of the
write-ahead log run on a connection of their own, so that no commit waits for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

import orjson
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from callboard.errors import UnavailableError

T = TypeVar("T")
Item = TypeVar("Item")

GROUP = 256
"""At most so many pieces of work share a commit, so that no caller waits for an unbounded one."""
CHECKPOINT_EVERY = 500
READERS = 3
UNUSABLE = (OperationalError, sqlite3.OperationalError)
"""The toolkit's form of what a statement met, and the driver's own of what a savepoint met."""


@dataclass(eq=False, slots=True)
class _Work:
    """One caller: its unit, for a batch its item, and where the result goes."""

    run: Callable[[Connection], Any] | None
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    batch: Callable[[Connection, Sequence[Any]], Sequence[Any]] | None = None
    item: Any = None


@dataclass(eq=False, slots=True)
class _Settled:
    """What became of each caller of one commit, handed to its event loop in one call."""

    results: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = field(default_factory=list)

    def deliver(self) -> None:
        for future, value, error in self.results:
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)


class SqliteDatabase:
    """The `Database` port over one SQLite file."""

    def __init__(self, path: Path) -> None:
        """Opens nothing yet; `start` does."""
        self._engine = _engine(path)
        self._path = path
        self._pending: deque[_Work] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._writer: threading.Thread | None = None
        self._broken: BaseException | None = None
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-read")
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        self._checkpoints = ThreadPoolExecutor(1, thread_name_prefix="sqlite-checkpoint")
        self._commits = 0

    @property
    def commits(self) -> int:
        """How many transactions the writer has begun since its start."""
        return self._commits

    @property
    def engine(self) -> Engine:
        """For migrations, which run before `start`."""
        return self._engine

    async def start(self) -> None:
        """Opens the file and starts the writer; raises UnavailableError naming the file when that fails."""
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        self._writer = threading.Thread(target=self._write_loop, args=(loop, started), name="sqlite-write", daemon=True)
        self._writer.start()
        await started

    async def write(self, unit: Callable[[Connection], T], *, repeatable: bool = False) -> T:
        """`repeatable` is for databases over a network: a commit here has one outcome, and this process knows it."""
        loop = asyncio.get_running_loop()
        return await self._submit(_Work(unit, loop, loop.create_future()))  # type: ignore[no-any-return]  # the unit's own type

    async def batch(self, unit: Callable[[Connection, Sequence[Item]], Sequence[T]], item: Item) -> T:
        loop = asyncio.get_running_loop()
        work = _Work(None, loop, loop.create_future(), unit, item)
        return await self._submit(work)  # type: ignore[no-any-return]  # the unit's own type

    async def read(self, unit: Callable[[Connection], T]) -> T:
        if self._closing:
            raise self._closed()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, unit)

    async def ping(self) -> None:
        await self.read(lambda connection: connection.execute(text("SELECT 1")).scalar())

    async def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        loop = asyncio.get_running_loop()
        if self._writer is not None:
            await loop.run_in_executor(None, self._writer.join)
        await loop.run_in_executor(None, self._close_readers)
        self._engine.dispose()

    def _submit(self, work: _Work) -> asyncio.Future[Any]:
        with self._wake:
            if self._closing or self._broken is not None:
                raise self._closed() from self._broken
            self._pending.append(work)
            self._wake.notify()
        return work.future

    def _closed(self) -> UnavailableError:
        return UnavailableError(f"the database {self._path} is closed")

    def _read(self, unit: Callable[[Connection], T]) -> T:
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._connect()
        try:
            with connection.begin():
                return unit(connection)
        except UNUSABLE as error:
            raise self._unavailable(error) from error
        finally:
            self._idle.put(connection)

    def _connect(self) -> Connection:
        try:
            return self._engine.connect()
        except UNUSABLE as error:
            raise self._unavailable(error) from error

    def _close_readers(self) -> None:
        self._readers.shutdown(wait=True)
        self._checkpoints.shutdown(wait=True)
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def _write_loop(self, loop: asyncio.AbstractEventLoop, started: asyncio.Future[None]) -> None:
        try:
            connection = self._engine.connect().execution_options(own_transactions=True)
        except DBAPIError as error:
            failure = self._unavailable(error)
            loop.call_soon_threadsafe(started.set_exception, failure)
            self._broken = failure
            return
        loop.call_soon_threadsafe(started.set_result, None)
        # To the toolkit it is one transaction, which never ends: its own way through each costs as much as a unit.
        with connection, connection.begin():
            while group := self._next_group():
                self._commits += 1
                settled = self._commit(connection, group)
                for owner, outcome in settled.items():
                    with contextlib.suppress(RuntimeError):  # a loop that is closed has nobody left who waits
                        owner.call_soon_threadsafe(outcome.deliver)
                if self._commits % CHECKPOINT_EVERY == 0:
                    self._checkpoints.submit(self._checkpoint)

    def _next_group(self) -> list[_Work]:
        with self._wake:
            while not self._pending and not self._closing:
                self._wake.wait()
            return [self._pending.popleft() for _ in range(min(GROUP, len(self._pending)))]

    def _commit(self, connection: Connection, group: list[_Work]) -> dict[asyncio.AbstractEventLoop, _Settled]:
        """One transaction for the group; a unit that raises is undone alone, a failed commit fails them all."""
        outcomes: list[tuple[_Work, Any, BaseException | None]] = []
        driver = _driver(connection)
        try:
            driver.execute("BEGIN IMMEDIATE")
            for works in _gather(group):
                outcomes.extend(_attempt(connection, works, alone=len(group) == len(works) == 1))
            driver.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001  # whatever it was, every caller of this commit must hear it
            _end_transaction(driver)
            outcomes = [(work, None, error) for work in group]
        settled: dict[asyncio.AbstractEventLoop, _Settled] = {}
        for work, value, reason in outcomes:
            shown = self._unavailable(reason) if isinstance(reason, UNUSABLE) else reason
            settled.setdefault(work.loop, _Settled()).results.append((work.future, value, shown))
        return settled

    def _checkpoint(self) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")

    def _unavailable(self, error: BaseException) -> UnavailableError:
        reason = error.orig if isinstance(error, DBAPIError) else error
        return UnavailableError(
            f"the database {self._path} cannot be used: {reason}; check the disk's free space and the file's owner"
        )


def _driver(connection: Connection) -> sqlite3.Connection:
    """Straight to it: through the toolkit a savepoint costs more than a row."""
    return cast("sqlite3.Connection", connection.connection.dbapi_connection)


def _end_transaction(driver: sqlite3.Connection) -> None:
    """SQLite leaves the transaction open when its commit fails; the next one could never begin."""
    if driver.in_transaction:
        with contextlib.suppress(sqlite3.Error):  # the next group meets it too, and its callers hear of it
            driver.execute("ROLLBACK")


def _gather(group: list[_Work]) -> list[list[_Work]]:
    """Neighbours and non-neighbours with one batch unit become one call; the first appearance keeps its place."""
    calls: list[list[_Work]] = []
    batches: dict[Callable[..., Any], list[_Work]] = {}
    for work in group:
        if work.batch is None:
            calls.append([work])
        elif work.batch in batches:
            batches[work.batch].append(work)
        else:
            batches[work.batch] = [work]
            calls.append(batches[work.batch])
    return calls


def _attempt(
    connection: Connection, works: list[_Work], *, alone: bool
) -> list[tuple[_Work, Any, BaseException | None]]:
    """Runs one call inside a savepoint; several items that fail together are tried one by one."""
    if alone:
        return [(works[0], _call(connection, works)[0], None)]
    driver = _driver(connection)
    driver.execute("SAVEPOINT unit")
    try:
        values = _call(connection, works)
    except Exception as error:  # noqa: BLE001  # a unit's own error belongs to its caller
        driver.execute("ROLLBACK TO unit")
        driver.execute("RELEASE unit")
        if len(works) == 1:
            return [(works[0], None, error)]
        return [outcome for work in works for outcome in _attempt(connection, [work], alone=False)]
    driver.execute("RELEASE unit")
    return [(work, value, None) for work, value in zip(works, values, strict=True)]


def _call(connection: Connection, works: list[_Work]) -> Sequence[Any]:
    first = works[0]
    if first.run is not None:
        return [first.run(connection)]
    assert first.batch is not None  # noqa: S101  # a work has a unit of one kind or the other
    return first.batch(connection, [work.item for work in works])


def _engine(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=NullPool,
        connect_args={"check_same_thread": False, "timeout": 10.0, "cached_statements": 500},
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=_from_json,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself: `begin` below says which kind.
        connection.isolation_level = None
        _use_write_ahead_log(connection)
        for pragma in (
            "synchronous=FULL",
            "busy_timeout=10000",
            "foreign_keys=ON",
            "wal_autocheckpoint=0",
            "cache_size=-16000",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("own_transactions", False):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writer", False) else "BEGIN")

    return engine


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """The file keeps the mode. The switch itself does not wait for other processes, so a transaction waits in its
    place; who comes second finds it done."""
    for _ in range(5):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("COMMIT")
        else:
            return


def _from_json(stored: Any) -> Any:
    """A document that is a number and nothing else comes back as one: SQLite reads it as such in a JSON column."""
    return stored if isinstance(stored, int | float) else orjson.loads(stored)
