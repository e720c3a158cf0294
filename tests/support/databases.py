"""The database adapters that the contract suites run over, each empty, migrated and started."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import MappingProxyType

from sqlalchemy import Engine

from callboard.state.models import metadata
from callboard.state.sql.sqlite import SqliteDatabase

AnyDatabase = SqliteDatabase
"""The adapters, as long as there is one."""


@contextlib.asynccontextmanager
async def open_sqlite(folder: Path) -> AsyncIterator[AnyDatabase]:
    database = SqliteDatabase(folder / "callboard.db")
    metadata.create_all(database.engine)
    await database.start()
    try:
        yield database
    finally:
        await database.close()


def sqlite_engine(folder: Path) -> Engine:
    return SqliteDatabase(folder / "callboard.db").engine


DATABASES: Mapping[str, Callable[[Path], AbstractAsyncContextManager[AnyDatabase]]] = MappingProxyType(
    {"sqlite": open_sqlite}
)
ENGINES: Mapping[str, Callable[[Path], Engine]] = MappingProxyType({"sqlite": sqlite_engine})
