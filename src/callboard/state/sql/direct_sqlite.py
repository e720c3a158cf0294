"""Constant statements on SQLite, straight to its driver: see `direct`."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import orjson
from sqlalchemy import Connection, Delete, Dialect, Insert, Select, Update

Statement = Select[Any] | Insert | Update | Delete
Convert = Callable[[Any], Any]

# How the toolkit writes `IN` with a list that is known only when it runs.
_LIST = re.compile(r"\(__\[POSTCOMPILE_(\w+)\]\)")


def fetch(connection: Connection, statement: Statement, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    form = _form(statement, connection.dialect, ())
    return form.rows(_driver(connection).execute(form.sql, form.values(parameters)))


def column(connection: Connection, statement: Statement, parameters: Mapping[str, Any]) -> list[Any]:
    form = _form(statement, connection.dialect, ())
    return [row[0] for row in _driver(connection).execute(form.sql, form.values(parameters))]


def change(connection: Connection, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> int:
    form = _form(statement, connection.dialect, _inserted(statement, rows[0]))
    return _driver(connection).executemany(form.sql, map(form.values, rows)).rowcount


def insert_numbered(connection: Connection, statement: Insert, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    form = _form(statement, connection.dialect, _inserted(statement, rows[0]))
    driver = _driver(connection)
    return [int(driver.execute(form.sql, form.values(row)).lastrowid or 0) for row in rows]


@dataclass(frozen=True, slots=True)
class _Form:
    """A compiled statement: its text, its parameters in order, and what converts values on both ways."""

    sql: str
    constants: Mapping[str, Any]
    parameters: tuple[tuple[str, Convert | None], ...]
    columns: tuple[str, ...]
    converted: tuple[tuple[str, Convert], ...]

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """Parameters in the statement's order; those that it holds itself are not given."""
        values = {**self.constants, **given} if self.constants else given
        return [values[name] if convert is None else convert(values[name]) for name, convert in self.parameters]

    def rows(self, found: sqlite3.Cursor) -> list[dict[str, Any]]:
        columns, converted = self.columns, self.converted
        rows = [dict(zip(columns, row, strict=True)) for row in found]
        for row in rows:
            for name, convert in converted:
                row[name] = convert(row[name])
        return rows


@lru_cache(maxsize=512)
def _form(statement: Statement, dialect: Dialect, inserted: tuple[str, ...]) -> _Form:
    compiled: Any = statement.compile(dialect=dialect, column_keys=list(inserted) or None)
    lists = set(_LIST.findall(compiled.string))
    constants = {name: compiled.params[name] for name in compiled.positiontup if not compiled.binds[name].required}
    parameters = tuple(
        (name, _as_list if name in lists else _binding(compiled.binds[name].type, dialect))
        for name in compiled.positiontup
    )
    columns = () if isinstance(statement, Delete) else tuple(statement.exported_columns)
    converted = tuple(
        (str(column.name), convert)
        for column in columns
        if (convert := column.type.dialect_impl(dialect).result_processor(dialect, None)) is not None
    )
    # A list is one parameter of the driver, so that the text, which the driver keeps prepared, is always the same.
    text = _LIST.sub("(SELECT value FROM json_each(?))", compiled.string)
    return _Form(text, constants, parameters, tuple(str(column.name) for column in columns), converted)


def _binding(type_: Any, dialect: Dialect) -> Convert | None:
    convert: Convert | None = type_.dialect_impl(dialect).bind_processor(dialect)
    return convert


def _as_list(values: Sequence[Any]) -> str:
    return orjson.dumps(list(values)).decode()


def _inserted(statement: Statement, row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row) if isinstance(statement, Insert) else ()


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", connection.connection.dbapi_connection)
