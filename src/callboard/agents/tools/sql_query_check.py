"""Whether a statement only reads: the first of the two walls of `sql_query`, by parsing it.

What is run is not the text that came but the statement that was understood, written out again: a database cannot read
it in another way than this file did. The second wall is the database's own (`sql_database`, `sql_query_sqlite`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import JsonValue

from callboard.agents.tools.sql_query_names import function_refusal, relation_refusal
from callboard.agents.tools.sql_query_tables import unlisted_table
from callboard.agents.tools.tool import ToolError

if TYPE_CHECKING:
    from sqlglot import exp

Dialect: TypeAlias = Literal["postgres", "sqlite"]

MAX_SQL_CHARS = 20_000


class RefusedSqlError(ToolError):
    """The statement is not run; the message says why, for the model."""


def checked_sql(
    sql: str, dialect: Dialect, *, params: Mapping[str, JsonValue] | None = None, tables: tuple[str, ...] | None = None
) -> str:
    """The statement to run: one that reads, with its parameters written in as literals. Raises RefusedSqlError.

    Parameters stand as `:name`. As literals they take the type of what they are compared with, as the database sees
    it; drivers differ in what they accept for a date or a number.
    """
    from sqlglot import exp

    tree = _parsed(sql, dialect)
    _refuse_what_does_not_read(tree)
    _refuse_names(tree, dialect, strict=tables is not None)
    if tables is not None:
        unlisted = unlisted_table(tree, tables, fold=dialect == "sqlite")
        if unlisted is not None:
            raise RefusedSqlError(f"refused: table {unlisted} may not be read here; readable are {', '.join(tables)}")
    while isinstance(tree, exp.Subquery) and not any(value for key, value in tree.args.items() if key != "this"):
        tree = tree.this  # SQLite knows no statement in brackets
    tree = _with_params(tree, params or {})
    return tree.sql(dialect=dialect, comments=False, normalize_functions=False)


def _parsed(sql: str, dialect: Dialect) -> exp.Expr:
    import sqlglot
    from sqlglot import errors

    if len(sql) > MAX_SQL_CHARS:
        raise RefusedSqlError(f"refused: the statement has {len(sql)} characters; the limit is {MAX_SQL_CHARS}")
    if "\x00" in sql:
        raise RefusedSqlError("refused: the statement holds the character NUL")
    # It would write the statement to standard error when it does not know it, in a form that is no log line.
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    try:
        found = [tree for tree in sqlglot.parse(sql, read=dialect) if tree is not None]
    except RecursionError:
        raise RefusedSqlError("refused: the statement is nested too deeply") from None
    except errors.ParseError as error:
        first = error.errors[0] if error.errors else {}
        where = f" (line {first['line']}, column {first['col']})" if first.get("line") else ""
        raise RefusedSqlError(f"refused: not understood: {first.get('description') or 'no SQL'}{where}") from None
    except errors.SqlglotError:
        raise RefusedSqlError("refused: not understood: a string, a name or a comment does not end") from None
    if len(found) != 1:
        raise RefusedSqlError(f"refused: one statement at a time, these are {len(found)}")
    tree: exp.Expr = found[0]
    return tree


def _refuse_what_does_not_read(tree: exp.Expr) -> None:
    """The root must be a query, and nothing in it may be anything else."""
    from sqlglot import exp

    root = tree
    while isinstance(root, exp.Subquery):
        root = root.this
    if not isinstance(root, exp.Select | exp.SetOperation | exp.Values):
        raise RefusedSqlError("refused: only SELECT, WITH … SELECT and VALUES are run here")
    changing = (exp.DML, exp.DDL, exp.Command, exp.Drop, exp.Alter, exp.Set, exp.Pragma, exp.Attach, exp.Detach)
    for node in tree.walk():
        if isinstance(node, changing):
            raise RefusedSqlError(f"refused: {node.key.upper()} does not only read")
        if isinstance(node, exp.Into):
            raise RefusedSqlError("refused: SELECT INTO writes a table")
        if isinstance(node, exp.Lock):
            raise RefusedSqlError("refused: FOR UPDATE and FOR SHARE lock rows")
        if isinstance(node, exp.ByteString | exp.RawString | exp.UnicodeString):
            raise RefusedSqlError("refused: strings with escapes are not read here; write a plain '…' string")


def _refuse_names(tree: exp.Expr, dialect: Dialect, *, strict: bool) -> None:
    from sqlglot import exp

    for node in tree.find_all(exp.Func):
        name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
        if isinstance(node, exp.Anonymous) and isinstance(node.this, exp.Identifier) and node.this.quoted:
            # A quoted name is not folded; no function that is meant for people needs one.
            raise RefusedSqlError(f"refused: write the function {name} without quotes")
        reason = function_refusal(name, dialect, strict=strict)
        if reason is not None:
            raise RefusedSqlError(f"refused: {reason}")
    for table in tree.find_all(exp.Table):
        reason = relation_refusal(table.name)
        if reason is not None:
            raise RefusedSqlError(f"refused: {reason}")


def _with_params(tree: exp.Expr, params: Mapping[str, JsonValue]) -> exp.Expr:
    from sqlglot import exp

    used: set[str] = set()

    def literal(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Parameter | exp.SessionParameter):
            raise RefusedSqlError("refused: write a parameter as :name and give its value in params")
        if not isinstance(node, exp.Placeholder):
            return node
        name = node.name
        if not isinstance(node.args.get("this"), str) or name not in params:
            raise RefusedSqlError(f"refused: no value for parameter :{name}; give it in params")
        used.add(name)
        return _literal(params[name], name)

    written: exp.Expr = tree.transform(literal)
    unused = params.keys() - used
    if unused:
        raise RefusedSqlError(f"refused: the statement has no parameter :{', :'.join(sorted(unused))}")
    return written


def _literal(value: JsonValue, name: str) -> exp.Expr:
    from sqlglot import exp

    match value:
        case None:
            return exp.null()
        case bool():
            return exp.true() if value else exp.false()
        case int() | float():
            number = exp.Literal.number(repr(abs(value)))
            return exp.Neg(this=number) if value < 0 else number
        case str() if "\x00" not in value:
            return exp.Literal.string(value)
    raise RefusedSqlError(f"refused: parameter :{name} must be a text, a number, a boolean or null")
