"""The database adapters that the contract suites run over, each empty, migrated and started."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from sqlalchemy import Engine

from callboard.state.models import metadata
from callboard.state.sql import migrating
from callboard.state.sql.postgres import PostgresDatabase
from callboard.state.sql.sqlite import SqliteDatabase

AnyDatabase = SqliteDatabase | PostgresDatabase
"""The adapters."""
SERVER = "CALLBOARD_TEST_POSTGRES_URL"


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
    async with migrated_postgres() as url:
        database = PostgresDatabase(url)
        await database.start()
        try:
            yield database
        finally:
            await database.close()


@contextlib.asynccontextmanager
async def migrated_postgres() -> AsyncIterator[str]:
    """A database of its own with every table, copied from one that is migrated once."""
    async with _server() as (admin, server):
        template = await _template(admin, server)
        async with _copy(admin, server, template) as url:
            yield url


@contextlib.asynccontextmanager
async def empty_postgres() -> AsyncIterator[str]:
    async with _server() as (admin, server), _copy(admin, server, "template0") as url:
        yield url


@contextlib.asynccontextmanager
async def _server() -> AsyncIterator[tuple[asyncpg.Connection, str]]:
    server = os.environ.get(SERVER)
    if not server:
        reason = f"needs PostgreSQL: run scripts/test, or set {SERVER}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    admin = await asyncpg.connect(_named(server, "postgres"))
    try:
        yield admin, server
    finally:
        await admin.close()


@contextlib.asynccontextmanager
async def _copy(admin: asyncpg.Connection, server: str, template: str) -> AsyncIterator[str]:
    name = f"test_{secrets.token_hex(8)}"
    # Copied file by file: a log of every page would be larger than what the test does.
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
    try:
        yield _named(server, name)
    finally:
        await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _template(admin: asyncpg.Connection, server: str) -> str:
    """Named after the migrations in it; made by whoever needs it first."""
    digest = hashlib.sha256()
    for path in sorted((migrating.FOLDER / "versions").glob("*.py")):
        digest.update(path.read_bytes())
    name = f"callboard_{digest.hexdigest()[:16]}"
    await admin.execute("SELECT pg_advisory_lock(4242)")
    try:
        if not await admin.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1 AND datistemplate", name):
            await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
            await PostgresDatabase(_named(server, name)).migrate()
            await admin.execute(f'ALTER DATABASE "{name}" IS_TEMPLATE true')
    finally:
        await admin.execute("SELECT pg_advisory_unlock(4242)")
    return name


def _named(server: str, name: str) -> str:
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


DATABASES: Mapping[str, Callable[[Path], AbstractAsyncContextManager[AnyDatabase]]] = MappingProxyType(
    {"sqlite": open_sqlite, "postgres": open_postgres}
)


def sqlite_engine(folder: Path) -> Engine:
    return SqliteDatabase(folder / "callboard.db").engine


ENGINES = MappingProxyType({"sqlite": sqlite_engine})
