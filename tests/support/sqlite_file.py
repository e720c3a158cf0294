"""A database file for a test, opened as the program opens it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from callboard.state.models import metadata
from callboard.state.sql.sqlite import SqliteDatabase


@contextlib.asynccontextmanager
async def open_sqlite(folder: Path) -> AsyncIterator[SqliteDatabase]:
    """With every table; kept in the folder when it is closed."""
    database = SqliteDatabase(folder / "callboard.db")
    metadata.create_all(database.engine)
    await database.start()
    try:
        yield database
    finally:
        await database.close()
