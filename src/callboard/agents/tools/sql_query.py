"""`sql_query`: questions to a database of the people's own, which it cannot change."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from pydantic import JsonValue

from callboard.agents.tools.child import ChildRunner
from callboard.agents.tools.registry import ToolFactory, ToolOptions
from callboard.agents.tools.sql_database import QueryLimits, ReportingDatabase, reporting_database
from callboard.agents.tools.sql_query_check import MAX_SQL_CHARS, checked_sql
from callboard.agents.tools.sql_query_options import SqlQueryOptions
from callboard.agents.tools.sql_query_rows import as_text
from callboard.agents.tools.tool import Tool, ToolContext, ToolTraits
from callboard.agents.tools.tool_options import read_options

_GRACE_SECONDS = 5.0
_NAMES = {"postgres": "PostgreSQL", "sqlite": "SQLite"}


class SqlTools:
    """Makes the tool for any agent; agents with the same database share its few connections."""

    def __init__(self, runner: ChildRunner) -> None:
        self._runner = runner
        self._databases: dict[str, ReportingDatabase] = {}

    def factories(self) -> dict[str, ToolFactory]:
        """By tool name, for the registry."""
        return {"sql_query": self._make}

    def _make(self, options: ToolOptions) -> Tool:
        chosen = read_options("sql_query", SqlQueryOptions, options)
        database = self._databases.get(chosen.database)
        if database is None:
            database = self._databases[chosen.database] = reporting_database(chosen.database, self._runner)
        return SqlQuery(database, chosen)


class SqlQuery:
    """One database behind two walls: the statement must parse as one that reads, and the database holds it to that."""

    name = "sql_query"
    idempotent = True
    traits = ToolTraits(reads_untrusted=True)

    def __init__(self, database: ReportingDatabase, options: SqlQueryOptions) -> None:
        self._database = database
        self._options = options
        self.timeout_seconds = options.timeout_seconds + _GRACE_SECONDS
        self.description = _description(database, options)
        self.parameters: Mapping[str, JsonValue] = _PARAMETERS

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        del context
        params = arguments.get("params")
        check = partial(
            checked_sql,
            str(arguments["sql"]),
            self._database.dialect,
            params=params if isinstance(params, Mapping) else {},
            tables=self._options.tables,
        )
        # Parsing a long statement takes a while, and a deep one needs a stack of its own.
        sql = await asyncio.to_thread(check)
        limits = QueryLimits(
            max_rows=self._options.max_rows,
            max_cell_chars=self._options.max_cell_chars,
            timeout_seconds=self._options.timeout_seconds,
            tables=self._options.tables,
        )
        return as_text(await self._database.query(sql, limits), self._options.max_bytes)


_PARAMETERS: Mapping[str, JsonValue] = {
    "type": "object",
    "properties": {
        "sql": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_SQL_CHARS,
            "description": "One SELECT statement; values that come from elsewhere stand as :name",
        },
        "params": {
            "type": "object",
            "description": "The values of the :name parameters",
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
        },
    },
    "required": ["sql"],
    "additionalProperties": False,
}


_WHERE_TO_LOOK = {
    "postgres": "information_schema.tables and information_schema.columns tell what there is.",
    "sqlite": "sqlite_master and pragma_table_info('TABLE') tell what there is.",
}


def _description(database: ReportingDatabase, options: SqlQueryOptions) -> str:
    listed = "" if options.tables is None else f"Readable tables: {', '.join(options.tables)}."
    return (
        f"Ask a {_NAMES[database.dialect]} database with one SELECT statement; nothing can be changed. The answer is "
        f"the column names, then one JSON array a row, at most {options.max_rows} rows: aggregate, filter and LIMIT in "
        f"the statement rather than reading everything. {listed or _WHERE_TO_LOOK[database.dialect]}"
    )
