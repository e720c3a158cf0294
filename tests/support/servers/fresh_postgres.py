"""A database of its own for a test, in the shared PostgreSQL."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from callboard.state.sql import migrating
from callboard.state.sql.postgres import PostgresDatabase
from tests.support.servers.session_servers import POSTGRES_URL, session_url

_ONE_TEMPLATE = 4242


@contextlib.asynccontextmanager
async def fresh_postgres() -> AsyncIterator[str]:
    """The URL of a database with every table, copied from one that is migrated once a server; dropped afterwards."""
    server = session_url(POSTGRES_URL)
    async with _administrator(server) as admin:
        template = await _template(admin, server)
    async with _copy(server, template) as url:
        yield url


@contextlib.asynccontextmanager
async def empty_postgres() -> AsyncIterator[str]:
    """The URL of a database without a table; dropped afterwards."""
    async with _copy(session_url(POSTGRES_URL), "template0") as url:
        yield url


@contextlib.asynccontextmanager
async def _administrator(server: str) -> AsyncIterator[asyncpg.Connection]:
    admin = await asyncpg.connect(_named(server, "postgres"))
    try:
        yield admin
    finally:
        await admin.close()


@contextlib.asynccontextmanager
async def _copy(server: str, template: str) -> AsyncIterator[str]:
    name = f"test_{secrets.token_hex(8)}"
    async with _administrator(server) as admin:
        # Copied file by file: a log of every page would be larger than what the test does.
        await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
    try:
        yield _named(server, name)
    finally:
        async with _administrator(server) as admin:
            await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _template(admin: asyncpg.Connection, server: str) -> str:
    """Named after the migrations in it; made by whoever needs it first."""
    digest = hashlib.sha256()
    for path in sorted((migrating.FOLDER / "versions").glob("*.py")):
        digest.update(path.read_bytes())
    name = f"callboard_{digest.hexdigest()[:16]}"
    await admin.execute("SELECT pg_advisory_lock($1)", _ONE_TEMPLATE)
    try:
        if not await admin.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1 AND datistemplate", name):
            await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
            await PostgresDatabase(_named(server, name)).migrate()
            await admin.execute(f'ALTER DATABASE "{name}" IS_TEMPLATE true')
    finally:
        await admin.execute("SELECT pg_advisory_unlock($1)", _ONE_TEMPLATE)
    return name


def _named(server: str, name: str) -> str:
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
