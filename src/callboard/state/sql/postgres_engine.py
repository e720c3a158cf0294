"""Connections to PostgreSQL: how its URL is read and what every session is set to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import orjson
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from callboard.errors import InvalidInputError
from callboard.state.sql.postgres_values import document

_SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """In seconds. A statement may take long, as long as the server gives signs of life."""

    connect: float = 2.0
    busy: float = 5.0
    """How long is waited for one of our own connections, when all of them are in use."""
    statement: float = 10.0
    lock: float = 4.0
    idle_in_transaction: float = 5.0
    """A process that is stopped inside a transaction must not hold its locks for ever."""


def normalised(url: str) -> str:
    scheme = urlsplit(url).scheme
    if scheme not in _SCHEMES:
        raise InvalidInputError(f"a PostgreSQL URL begins with postgresql://, not {scheme}://", field="DATABASE_URL")
    return f"postgresql{url[len(scheme) :]}"


def make_engine(dsn: str, timeouts: Timeouts | None, **options: Any) -> AsyncEngine:
    """`timeouts` None: for migrations, which take their time, but wait for no lock that others queue behind."""
    settings = {"application_name": "callboard", "timezone": "UTC", "jit": "off"}
    if timeouts is None:
        settings |= {"lock_timeout": "5s", "idle_in_transaction_session_timeout": "60s"}
    else:
        settings |= {
            # Every statement of a unit has its index. A plan made while a table was small would read all of it, and
            # stay prepared while it grows.
            "enable_seqscan": "off",
            "statement_timeout": f"{int(timeouts.statement * 1000)}ms",
            "lock_timeout": f"{int(timeouts.lock * 1000)}ms",
            "idle_in_transaction_session_timeout": f"{int(timeouts.idle_in_transaction * 1000)}ms",
        }

    async def connect() -> Any:
        return await asyncpg.connect(
            dsn,
            timeout=2.0 if timeouts is None else timeouts.connect,
            command_timeout=None if timeouts is None else timeouts.statement + 2.0,
            statement_cache_size=500,
            max_cached_statement_lifetime=0,
            server_settings=settings,
        )

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        poolclass=NullPool,
        json_serializer=document,
        json_deserializer=orjson.loads,
        **options,
    )
