"""The schema of whatever database the settings name: `callboard db`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from callboard.bootstrap.places import data_folder
from callboard.bootstrap.servers import POSTGRESQL, database_at
from callboard.errors import ConflictError, NotFoundError
from callboard.settings import Settings, text_of
from callboard.state.sql import migrating
from callboard.state.sql.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from sqlalchemy import Engine

T = TypeVar("T")


def upgrade(settings: Settings) -> str:
    """Runs the migrations that are missing; where the database is. A SQLite file must not be in use (ConflictError)."""
    if _on_a_server(settings):
        database = database_at(settings)
        asyncio.run(database.migrate())
        return database.where
    with data_folder(settings) as data:
        migrating.upgrade(SqliteDatabase(data.database).engine)
        return str(data.database)


def check(settings: Settings) -> str:
    """Where the database is, when it is what this release wants; ConflictError, NotFoundError for a missing file."""
    where, found, different = _look(settings)
    wanted = migrating.newest_revision()
    if found != wanted:
        raise ConflictError(
            f"{where} is at revision {found or 'none'}, this release wants {wanted}: run `callboard db upgrade`"
        )
    if different:
        raise ConflictError(f"{where} differs from the tables of this release: {'; '.join(different[:5])}")
    return where


def _look(settings: Settings) -> tuple[str, str | None, list[str]]:
    if _on_a_server(settings):
        database = database_at(settings)

        def look(unit: Callable[[Engine], T]) -> T:
            return asyncio.run(database.with_engine(unit))

        return database.where, look(migrating.current_revision), look(migrating.differences)
    path = data_folder(settings).database
    if not path.exists():
        raise NotFoundError(f"there is no database {path}: `callboard up` or `callboard db upgrade` makes one")
    engine = SqliteDatabase(path).engine
    return str(path), migrating.current_revision(engine), migrating.differences(engine)


def _on_a_server(settings: Settings) -> bool:
    return (text_of(settings.database_url) or "").partition("://")[0] in POSTGRESQL
