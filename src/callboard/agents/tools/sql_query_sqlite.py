"""One query on a SQLite file, inside a child process: read-only by the file, by the pragma and by the authorizer.

A child, because SQLite's memory and temporary files know no limit of their own, and a query that sorts a product of
tables would take the whole process with it. Imports the standard library only, so that a child is there at once.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

MEMORY_BYTES = 512 * 1024 * 1024
TEMPORARY_BYTES = 64 * 1024 * 1024
_CHECK_EVERY_OPERATIONS = 20_000
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 4 * 1024 * 1024,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 200_000,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 200,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 200,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_DESCRIBING = frozenset({"table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list"})
_FROM_JSON = frozenset({"json_each", "json_tree"})
_MADE_BY_SQLITE = ("json_each('[]')", "json_tree('[]')", *(f"pragma_{name}" for name in sorted(_DESCRIBING)))
_REFUSED_FUNCTIONS = frozenset(
    {"load_extension", "readfile", "writefile", "edit", "eval", "fts3_tokenizer", "zeroblob", "randomblob"}
)


def query(
    *, path: str, sql: str, max_rows: int, max_cell_chars: int, seconds: float, tables: list[str] | None
) -> dict[str, Any]:
    """`{"columns": […], "rows": [[JSON text, …], …], "cut": …}`, or `{"error": …}` for what SQLite or a limit says."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (TEMPORARY_BYTES, TEMPORARY_BYTES))
    try:
        with open_read_only(path, tables=tables, until=time.monotonic() + seconds) as connection:
            cursor = connection.execute(sql)
            columns = [column[0] for column in cursor.description or ()]
            rows = [[_cell(value, max_cell_chars) for value in row] for row in cursor.fetchmany(max_rows + 1)]
        return {"columns": columns, "rows": rows[:max_rows], "cut": len(rows) > max_rows}
    except MemoryError:
        return {"error": f"the query needs more than {MEMORY_BYTES // 1024 // 1024} MiB of memory"}
    except sqlite3.Error as error:
        said = str(error)
        return {"error": f"the query took longer than {seconds:g} s" if said == "interrupted" else said}


def open_read_only(path: str, *, tables: list[str] | None, until: float) -> sqlite3.Connection:
    """A connection that can change nothing, works until that moment of `time.monotonic()`, and reads only `tables`."""
    connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None, timeout=2.0)
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    for table in _MADE_BY_SQLITE:
        # Its first use declares it, which looks like a change to the authorizer.
        connection.execute(f"SELECT 1 FROM {table} LIMIT 0")  # noqa: S608  # our own names
    connection.set_authorizer(authorizer(None if tables is None else _readable(connection, tables)))
    connection.set_progress_handler(lambda: time.monotonic() > until, _CHECK_EVERY_OPERATIONS)
    return connection


@dataclass(frozen=True, slots=True)
class Readable:
    """What a list of tables comes to in one file, in small letters: `under` are the tables that its views read."""

    listed: frozenset[str]
    views: frozenset[str]
    under: frozenset[str]
    known: frozenset[str]

    def allows(self, table: str, column: str, inside: str) -> bool:
        """`column` is empty where rows are only counted, `inside` the view or the WITH that reads, or empty."""
        if table in self.listed or table in _FROM_JSON:
            return True
        if not column and table not in self.known:
            return True  # a table that the statement itself has named by WITH
        return table in self.under and (inside in self.views or not column)


def _readable(connection: sqlite3.Connection, tables: list[str]) -> Readable:
    listed = {name.casefold().removeprefix("main.") for name in tables}
    relations = connection.execute("SELECT name, type FROM sqlite_master").fetchall()
    views = [name for name, kind in relations if kind == "view" and name.casefold() in listed]
    under: set[str] = set()

    def note(action: int, first: str | None, *_rest: str | None) -> int:
        if action == sqlite3.SQLITE_READ and first:
            under.add(first.casefold())
        return sqlite3.SQLITE_OK

    connection.set_authorizer(note)
    for view in views:
        quoted = view.replace('"', '""')
        connection.execute(f'SELECT * FROM "{quoted}" LIMIT 0')  # noqa: S608  # a name that is in the file
    return Readable(
        frozenset(listed),
        frozenset(view.casefold() for view in views),
        frozenset(under),
        frozenset({"sqlite_master", "sqlite_schema", *(name.casefold() for name, _ in relations)}),
    )


def authorizer(readable: Readable | None) -> Callable[..., int]:
    """Only reading is authorised: every other action, of this release of SQLite or a later one, is denied."""
    plain = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE)

    def authorize(action: int, first: str | None, second: str | None, schema: str | None, inside: str | None) -> int:
        one, two = (first or "").casefold(), (second or "").casefold()
        allowed = (
            action in plain
            or (action == sqlite3.SQLITE_FUNCTION and two not in _REFUSED_FUNCTIONS)
            or (action == sqlite3.SQLITE_PRAGMA and readable is None and one in _DESCRIBING)
            or (
                action == sqlite3.SQLITE_READ
                and (readable is None or readable.allows(one, two, (inside or "").casefold()))
            )
        )
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    return authorize


def _cell(value: Any, max_chars: int) -> str:
    if isinstance(value, bytes):
        value = f"{len(value)} bytes: {value[: max_chars // 2].hex()}"
    if isinstance(value, float) and value - value != 0:
        value = str(value)  # infinite: JSON has no word for it
    if isinstance(value, str) and len(value) > max_chars:
        value = f"{value[:max_chars]}…"
    return json.dumps(value, ensure_ascii=False)
