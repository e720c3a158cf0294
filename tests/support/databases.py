"""The database adapters that the contract suites run over, each empty, migrated and started."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine

from callboard.state.database import Database
from callboard.state.sql.postgres import PostgresDatabase
from callboard.state.sql.postgres_engine import Timeouts
from callboard.state.sql.sqlite import SqliteDatabase
from tests.support.servers.fresh_postgres import empty_postgres, fresh_postgres
from tests.support.sqlite_file import open_sqlite

PATIENT = Timeouts(connect=20.0, busy=60.0, statement=30.0, lock=20.0)
"""A contract says what comes of many at once, not how soon: on a busy machine they take their time."""
AnyDatabase = SqliteDatabase | PostgresDatabase
T = TypeVar("T")
Item = TypeVar("Item")


@contextlib.asynccontextmanager
async def open_postgres(_folder: Path) -> AsyncIterator[AnyDatabase]:
    async with fresh_postgres() as url, started(url, timeouts=PATIENT) as database:
        yield database


@contextlib.asynccontextmanager
async def started(
    url: str, *, pool_size: int = 10, timeouts: Timeouts | None = None
) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(url, pool_size=pool_size, timeouts=timeouts)
    await database.start()
    try:
        yield database
    finally:
        await database.close()


DATABASES: Mapping[str, Callable[[Path], AbstractAsyncContextManager[AnyDatabase]]] = MappingProxyType(
    {"sqlite": open_sqlite, "postgres": open_postgres}
)


class InTurn:
    """The `Database` port over several adapters of one database, as several processes have them: one after another."""

    def __init__(self, *databases: PostgresDatabase) -> None:
        self._next = itertools.cycle(databases)

    async def write(self, unit: Callable[[Connection], T], *, repeatable: bool = False) -> T:
        return await next(self._next).write(unit, repeatable=repeatable)

    async def read(self, unit: Callable[[Connection], T]) -> T:
        return await next(self._next).read(unit)

    async def batch(self, unit: Callable[[Connection, Sequence[Item]], Sequence[T]], item: Item) -> T:
        return await next(self._next).batch(unit, item)

    async def ping(self) -> None:
        await next(self._next).ping()

    async def close(self) -> None:
        """Whoever opened the adapters closes them."""


@contextlib.asynccontextmanager
async def open_three_postgres(_folder: Path) -> AsyncIterator[Database]:
    """Three processes at one PostgreSQL."""
    async with (
        fresh_postgres() as url,
        started(url, timeouts=PATIENT) as one,
        started(url, timeouts=PATIENT) as two,
        started(url, timeouts=PATIENT) as three,
    ):
        yield InTurn(one, two, three)


class WithEngine(Protocol):
    """Runs a synchronous function over an engine of a database that has no table yet."""

    async def __call__(self, function: Callable[[Engine], T]) -> T: ...


@contextlib.asynccontextmanager
async def sqlite_engine(folder: Path) -> AsyncIterator[tuple[str, WithEngine]]:
    engine = SqliteDatabase(folder / "callboard.db").engine

    async def run(function: Callable[[Engine], T]) -> T:
        return function(engine)

    yield f"sqlite:///{folder / 'callboard.db'}", run


@contextlib.asynccontextmanager
async def postgres_engine(_folder: Path) -> AsyncIterator[tuple[str, WithEngine]]:
    async with empty_postgres() as url:
        yield url, PostgresDatabase(url).with_engine


ENGINES: Mapping[str, Callable[[Path], AbstractAsyncContextManager[tuple[str, WithEngine]]]] = MappingProxyType(
    {"sqlite": sqlite_engine, "postgres": postgres_engine}
)
"""A database without a table: its URL, and a way to run something over its engine."""
