"""Statements of the hot path, straight to the driver.

The toolkit spends on a small statement five to ten times what SQLite itself spends, on the thread through which every
write goes, and more than asyncpg with PostgreSQL. So a constant statement is compiled once, and from then on its
parameters and columns go through the same types by the shortest way; on PostgreSQL a change of many rows is one
statement. Rows come as dicts, by column name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, Delete, Insert, Select, Update

from callboard.state.sql import direct_postgres, direct_sqlite

Statement = Select[Any] | Insert | Update | Delete
Row = Mapping[Any, Any]
"""A row of a table, by column name: from here, or from the toolkit."""


def fetch(connection: Connection, statement: Statement, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that a constant select, or a change with `returning`, gives."""
    rows: list[dict[str, Any]] = _way(connection).fetch(connection, statement, parameters)
    return rows


def column(connection: Connection, statement: Statement, parameters: Mapping[str, Any]) -> list[Any]:
    """The first column of what `fetch` gives."""
    values: list[Any] = _way(connection).column(connection, statement, parameters)
    return values


def change(connection: Connection, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> int:
    """Carries out a constant statement for each row; for an insert, all rows name the same columns.

    An update or delete finds each row of the table by at most one of the rows given. Returns how many rows of the
    table it has changed.
    """
    if not rows:
        return 0
    changed: int = _way(connection).change(connection, statement, rows)
    return changed


def insert_numbered(connection: Connection, statement: Insert, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Inserts rows into a table with a numbered key; their numbers, in the order of the rows."""
    if not rows:
        return []
    numbers: list[int] = _way(connection).insert_numbered(connection, statement, rows)
    return numbers


def _way(connection: Connection) -> ModuleType:
    return direct_sqlite if connection.dialect.name == "sqlite" else direct_postgres
