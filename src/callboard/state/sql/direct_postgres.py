"""Constant statements on PostgreSQL, straight to asyncpg: see `direct`.

The text of a statement is the same for any number of rows or values, so that the driver keeps it prepared: a list is
one array, and so is each column of many rows (`unnest`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import JSON, Connection, Delete, Dialect, Insert, Select, Table, Update
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.util import await_only

from callboard.state.sql.postgres_values import document

Statement = Select[Any] | Insert | Update | Delete
Convert = Callable[[Any], Any]

# How the toolkit writes `IN` with a list that is known only when it runs, and any other parameter.
_NOT_IN_LIST = re.compile(r"NOT IN \(__\[POSTCOMPILE_(\w+)\]\)")
_IN_LIST = re.compile(r"IN \(__\[POSTCOMPILE_(\w+)\]\)")
_PARAMETER = re.compile(r"(?<!:):(\w+)")
_COUNT = re.compile(r"(\d+)$")


@dataclass(frozen=True, slots=True)
class _Form:
    """A statement as the driver gets it: its text, and its parameters in order with what converts their values."""

    sql: str
    constants: Mapping[str, Any]
    parameters: tuple[tuple[str, Convert | None], ...]

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """Parameters in the statement's order; those that it holds itself are not given."""
        values = {**self.constants, **given} if self.constants else given
        return [values[name] if convert is None else convert(values[name]) for name, convert in self.parameters]

    def arrays(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The same for many rows: an array each, a constant once."""
        constants = self.constants
        return [
            constants[name]
            if name in constants
            else [row[name] for row in rows]
            if convert is None
            else [convert(row[name]) for row in rows]
            for name, convert in self.parameters
        ]


def fetch(connection: Connection, statement: Statement, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    form = _single(statement)
    return [dict(row) for row in await_only(_driver(connection).fetch(form.sql, *form.values(parameters)))]


def column(connection: Connection, statement: Statement, parameters: Mapping[str, Any]) -> list[Any]:
    form = _single(statement)
    return [row[0] for row in await_only(_driver(connection).fetch(form.sql, *form.values(parameters)))]


def change(connection: Connection, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> int:
    form = _inserting(statement, tuple(rows[0])) if isinstance(statement, Insert) else _many(statement)
    status = await_only(_driver(connection).execute(form.sql, *form.arrays(rows)))
    counted = _COUNT.search(status)
    return int(counted[1]) if counted else 0


def insert_numbered(connection: Connection, statement: Insert, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    key = next(iter(statement.table.primary_key)).name
    form = _inserting(statement, tuple(rows[0]), key)
    # The numbers are drawn in the order of the rows; that they are also returned so is promised nowhere.
    return sorted(row[0] for row in await_only(_driver(connection).fetch(form.sql, *form.arrays(rows))))


@lru_cache(maxsize=512)
def _single(statement: Statement) -> _Form:
    compiled: Any = statement.compile(dialect=_dialect())
    names: list[str] = []
    text = _numbered(compiled.string, compiled, names)
    return _Form(text, _constants(compiled), _bindings(compiled, names))


@lru_cache(maxsize=128)
def _many(statement: Update | Delete) -> _Form:
    """The change of each row that the arrays name."""
    compiled: Any = statement.compile(dialect=_dialect())
    constants = _constants(compiled)
    names = [name for name in dict.fromkeys(_PARAMETER.findall(compiled.string)) if name not in constants]
    arrays = ", ".join(f"${n}::{_type(compiled.binds[name].type)}[]" for n, name in enumerate(names, 1))
    source = f"unnest({arrays}) AS given ({', '.join(names)})"
    before, _, condition = compiled.string.partition(" WHERE ")

    def place(found: re.Match[str]) -> str:
        name = found[1]
        if name not in constants:
            return f"given.{name}"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    keyword = "USING" if isinstance(statement, Delete) else "FROM"
    text = f"{_PARAMETER.sub(place, before)} {keyword} {source} WHERE {_PARAMETER.sub(place, condition)}"
    return _Form(text, constants, _bindings(compiled, names))


@lru_cache(maxsize=128)
def _inserting(statement: Insert, names: tuple[str, ...], key: str | None = None) -> _Form:
    compiled: Any = statement.compile(dialect=_dialect(), column_keys=list(names))
    arrays = ", ".join(f"${n}::{_type(compiled.binds[name].type)}[]" for n, name in enumerate(names, 1))
    columns = ", ".join(f'"{name}"' for name in names)
    given = ", ".join(f'given."{name}"' for name in names)
    text = (  # the names are those of our own tables and columns
        f"INSERT INTO {statement.table.name} ({columns}) SELECT {given} "  # noqa: S608
        f'FROM unnest({arrays}) WITH ORDINALITY AS given ({columns}, "place of row") ORDER BY given."place of row"'
    )
    returning = "" if key is None else f" RETURNING {key}"
    return _Form(text + returning, {}, _bindings(compiled, names))


def unnested(table: Table, names: Sequence[str], *, first: int = 1) -> str:
    """Rows as one array a column, from the parameter `first` on: what stands after FROM, up to its alias."""
    arrays = ", ".join(f"${n}::{_type(table.c[name].type)}[]" for n, name in enumerate(names, first))
    return f"unnest({arrays})"


def columns_of(table: Table, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """The arrays that `unnested` names."""
    ways = [_binding(table.c[name].type) for name in names]
    return [
        [row[name] for row in rows] if convert is None else [convert(row[name]) for row in rows]
        for name, convert in zip(names, ways, strict=True)
    ]


def _numbered(text: str, compiled: Any, names: list[str]) -> str:
    def number(name: str) -> str:
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    def array(name: str) -> str:
        return f"{number(name)}::{_type(compiled.binds[name].type)}[]"

    text = _NOT_IN_LIST.sub(lambda found: f"<> ALL ({array(found[1])})", text)
    text = _IN_LIST.sub(lambda found: f"= ANY ({array(found[1])})", text)
    return _PARAMETER.sub(lambda found: number(found[1]), text)


def _constants(compiled: Any) -> dict[str, Any]:
    return {name: _bound(bind.value, bind.type) for name, bind in compiled.binds.items() if not bind.required}


def _bound(value: Any, type_: Any) -> Any:
    convert = _binding(type_)
    return value if convert is None else convert(value)


def _bindings(compiled: Any, names: Sequence[str]) -> tuple[tuple[str, Convert | None], ...]:
    """A constant is converted already."""
    binds = compiled.binds
    return tuple((name, _binding(binds[name].type) if binds[name].required else None) for name in names)


def _binding(type_: Any) -> Convert | None:
    """Everything else the driver takes, and gives back, as it is."""
    return document if isinstance(type_, JSON) else None


def _type(type_: Any) -> str:
    return str(type_.dialect_impl(_dialect()).compile(dialect=_dialect()))


@lru_cache(maxsize=1)
def _dialect() -> Dialect:
    """Its way of writing parameters is the one that is easiest to rewrite."""
    return asyncpg_dialect(paramstyle="named", json_serializer=document)  # type: ignore[no-untyped-call]


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection
