"""The database adapters that the contract suites run over, each empty, migrated and started."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import MappingProxyType

from sqlalchemy import Engine

from callboard.state.models import metadata
from callboard.state.sql.postgres import PostgresDatabase
from callboard.state.sql.sqlite import SqliteDatabase
from tests.support.servers.fresh_postgres import fresh_postgres

AnyDatabase = SqliteDatabase | PostgresDatabase
"""The adapters."""


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
    async with fresh_postgres() as url:
        database = PostgresDatabase(url)
        await database.start()
        try:
            yield database
        finally:
            await database.close()


DATABASES: Mapping[str, Callable[[Path], AbstractAsyncContextManager[AnyDatabase]]] = MappingProxyType(
    {"sqlite": open_sqlite, "postgres": open_postgres}
)


def sqlite_engine(folder: Path) -> Engine:
    return SqliteDatabase(folder / "callboard.db").engine


ENGINES = MappingProxyType({"sqlite": sqlite_engine})
