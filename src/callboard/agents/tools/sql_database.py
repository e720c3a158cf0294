"""The databases that `sql_query` asks, each read-only by itself: whatever statement comes, nothing changes.

The only tool that knows SQLAlchemy. Every query has a connection of its own, opened and closed for it: what one run
sets, locks or prepares in a session, no other can meet.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from callboard.agents.tools.child import ChildRunner
from callboard.agents.tools.sql_query_check import Dialect
from callboard.agents.tools.sql_query_rows import QueryRows, cell
from callboard.agents.tools.tool import ToolError
from callboard.errors import InvalidInputError
from callboard.logs import StructuredLogger

MAX_CONNECTIONS = 4
MAX_COLUMNS = 100
_PORTION_ROWS = 50
_CONNECT_SECONDS = 5.0
_GRACE_SECONDS = 2.0
_SUPPORTED = "postgresql://USER:PASSWORD@HOST/NAME and sqlite:///PATH"
_MIGHTY = (
    "SELECT rolsuper OR pg_has_role(oid, 'pg_execute_server_program', 'member')"
    " OR pg_has_role(oid, 'pg_write_server_files', 'member') FROM pg_roles WHERE rolname = current_user"
)

_SQLITE_QUERY = "callboard.agents.tools.sql_query_sqlite:query"
_TLS_KEYS = ("ssl", "sslmode")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryLimits:
    """How much one query may take and give. `tables` None: all that the role may read."""

    max_rows: int
    max_cell_chars: int
    timeout_seconds: float
    tables: tuple[str, ...] | None = None


class ReportingDatabase(Protocol):
    """A database that is only read.

    `query` runs one statement that `sql_query_check` has written, and holds by itself that nothing changes. Raises
    ToolError, whose message has no part of the URL.
    """

    @property
    def dialect(self) -> Dialect: ...

    async def query(self, sql: str, limits: QueryLimits) -> QueryRows: ...


def reporting_database(url: str, runner: ChildRunner) -> ReportingDatabase:
    """The database at a SQLAlchemy URL; InvalidInputError, which does not repeat the URL, for one that is not read."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise _refused("is no database URL") from None
    backend = parsed.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return PostgresReporting(_for_asyncpg(parsed))
    if backend == "sqlite":
        if parsed.query or not parsed.database or parsed.database.startswith((":memory:", "file:")):
            raise _refused("must be a plain sqlite:///PATH to a file")
        return SqliteReporting(Path(parsed.database).absolute(), runner)
    raise _refused(f"is of kind {backend[:30]}")


class ReadOnlySession:
    """One transaction. What the database says becomes a ToolError of its own words, without the statement."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def execute(self, sql: str) -> Sequence[Sequence[Any]]:
        """The rows, if there are any."""
        with _told():
            result = await self._connection.exec_driver_sql(sql)
        return result.all() if result.returns_rows else []

    async def columns(self, sql: str) -> tuple[str, ...]:
        """The names of the columns that it gives."""
        with _told():
            return tuple((await self._connection.exec_driver_sql(sql)).keys())


class PostgresReporting:
    """PostgreSQL: a READ ONLY transaction with a statement timeout, whose rows are cut by the server already."""

    dialect: Dialect = "postgres"

    def __init__(self, url: URL) -> None:
        self._url = url
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)
        self._role_looked_at = False
        self._log = StructuredLogger("sql_query")

    async def query(self, sql: str, limits: QueryLimits) -> QueryRows:
        """The statement is asked from outside as a subquery: every column as JSON, shortened, a portion at a time."""
        async with self.read_only(limits.timeout_seconds) as session:
            columns = await session.columns(f"SELECT * FROM (\n{sql}\n) AS q LIMIT 0")  # noqa: S608  # was checked
            if not 0 < len(columns) <= MAX_COLUMNS:
                raise ToolError(f"the result has {len(columns)} columns; from 1 to {MAX_COLUMNS} are shown")
            names = [f"c{number}" for number in range(len(columns))]
            cells = ", ".join(f"left(to_json(q.{name})::text, {limits.max_cell_chars + 1})" for name in names)
            await session.execute(
                f"DECLARE callboard_rows NO SCROLL CURSOR FOR SELECT {cells} "  # noqa: S608  # was checked
                f"FROM (\n{sql}\n) AS q({', '.join(names)}) LIMIT {limits.max_rows + 1}"
            )
            rows: list[list[str]] = []
            while True:
                portion = await session.execute(f"FETCH {_PORTION_ROWS} FROM callboard_rows")
                rows += [[cell(value, limits.max_cell_chars) for value in row] for row in portion]
                if len(portion) < _PORTION_ROWS:
                    break
        return QueryRows(columns=columns, rows=rows[: limits.max_rows], cut=len(rows) > limits.max_rows)

    @contextlib.asynccontextmanager
    async def read_only(self, seconds: float) -> AsyncIterator[ReadOnlySession]:
        """A transaction that can only read, on a connection of its own, rolled back at the end; ToolError."""
        try:
            async with asyncio.timeout(seconds + _GRACE_SECONDS), self._places, self._connected(seconds) as connection:
                yield ReadOnlySession(connection)
        except TimeoutError:
            raise ToolError(f"the query took longer than {seconds:g} s") from None
        except (DBAPIError, OSError) as error:
            raise ToolError(f"the connection to the database was lost ({type(error).__name__})") from None

    @contextlib.asynccontextmanager
    async def _connected(self, seconds: float) -> AsyncIterator[AsyncConnection]:
        engine = create_async_engine(
            self._url, poolclass=NullPool, connect_args=_session(seconds), hide_parameters=True
        )
        connection = await _opened(engine)
        try:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            await self._look_at_role(connection)
            yield connection
        finally:
            with contextlib.suppress(DBAPIError):
                await connection.rollback()
            await connection.close()
            await engine.dispose()

    async def _look_at_role(self, connection: AsyncConnection) -> None:
        if self._role_looked_at:
            return
        self._role_looked_at = True
        mighty = (await connection.exec_driver_sql(_MIGHTY)).scalar()
        if mighty:
            self._log.warning(
                "sql_query reads with a role that may do everything on the server; give it one that may only SELECT",
                host=self._url.host,
                database=self._url.database,
            )


class SqliteReporting:
    """SQLite: a child process a query, with the file opened read-only and an authorizer over the statement."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: Path, runner: ChildRunner) -> None:
        self._path = path
        self._runner = runner

    async def query(self, sql: str, limits: QueryLimits) -> QueryRows:
        arguments: dict[str, Any] = {
            "path": str(self._path),
            "sql": sql,
            "max_rows": limits.max_rows,
            "max_cell_chars": limits.max_cell_chars,
            "seconds": limits.timeout_seconds,
            "tables": None if limits.tables is None else list(limits.tables),
        }
        seconds = limits.timeout_seconds + _GRACE_SECONDS
        try:
            async with asyncio.timeout(seconds):
                answer = json.loads(await self._runner.run(_SQLITE_QUERY, arguments, cpu_seconds=int(seconds) + 1))
        except TimeoutError:
            raise ToolError(f"the query took longer than {limits.timeout_seconds:g} s") from None
        except ToolError:
            raise ToolError("the query was ended: it needs more memory or time than a query may take") from None
        if "error" in answer:
            raise ToolError(f"the database says: {answer['error']}")
        return QueryRows(columns=tuple(answer["columns"]), rows=answer["rows"], cut=answer["cut"])


def _for_asyncpg(url: URL) -> URL:
    unknown = sorted(url.query.keys() - set(_TLS_KEYS))
    if unknown:
        raise _refused(f"has the option {unknown[0][:30]!r}, which is not read; known are {', '.join(_TLS_KEYS)}")
    tls = next((url.query[key] for key in _TLS_KEYS if key in url.query), None)
    return url.set(drivername="postgresql+asyncpg", query={} if tls is None else {"ssl": tls})


def _session(seconds: float) -> dict[str, Any]:
    """What every session is set to, before anything is said in it."""
    settings = {
        "application_name": "callboard sql_query",
        "default_transaction_read_only": "on",
        "statement_timeout": f"{int(seconds * 1000)}ms",
        "lock_timeout": "3s",
        "idle_in_transaction_session_timeout": f"{int((seconds + _GRACE_SECONDS) * 1000)}ms",
        "standard_conforming_strings": "on",
        "timezone": "UTC",
        "client_min_messages": "error",
    }
    return {
        "timeout": _CONNECT_SECONDS,
        "command_timeout": seconds + _GRACE_SECONDS,
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "server_settings": settings,
    }


async def _opened(engine: AsyncEngine) -> AsyncConnection:
    try:
        return await engine.connect()
    except OSError as error:
        raise ToolError(f"the database cannot be reached ({type(error).__name__})") from None
    except DBAPIError:
        # What it says names the user or the database.
        raise ToolError("the database refuses the connection: its URL or its rights are wrong") from None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        said = str(error.orig).partition("\n")[0][:500]
        raise ToolError(f"the database says: {said}") from None


def _refused(why: str) -> InvalidInputError:
    return InvalidInputError(
        f"sql_query, with.database: the URL {why}; supported are {_SUPPORTED}", field="with.database"
    )
