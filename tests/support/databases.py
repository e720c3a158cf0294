"""The database adapters that the contract suites run over, each empty, migrated and started."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeVar

from sqlalchemy import Engine

from callboard.state.models import metadata
from callboard.state.sql.postgres import PostgresDatabase
from callboard.state.sql.sqlite import SqliteDatabase
from tests.support.servers.fresh_postgres import empty_postgres, fresh_postgres

AnyDatabase = SqliteDatabase | PostgresDatabase
T = TypeVar("T")


@contextlib.asynccontextmanager
async def open_sqlite(folder: Path) -> AsyncIterator[AnyDatabase]:
    database = SqliteDatabase(folder / "callboard.db")
    metadata.create_all(database.engine)
    await database.start()
    try:
        yield database
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def open_postgres(_folder: Path) -> AsyncIterator[AnyDatabase]:
    async with fresh_postgres() as url, started(url) as database:
        yield database


@contextlib.asynccontextmanager
async def started(url: str, *, pool_size: int = 10) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(url, pool_size=pool_size)
    await database.start()
    try:
        yield database
    finally:
        await database.close()


DATABASES: Mapping[str, Callable[[Path], AbstractAsyncContextManager[AnyDatabase]]] = MappingProxyType(
    {"sqlite": open_sqlite, "postgres": open_postgres}
)


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
