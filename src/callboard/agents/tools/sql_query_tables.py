"""Which tables a parsed query reads, and whether a list allows them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import exp

_OWN_SCHEMAS = frozenset({"public", "main"})


def unlisted_table(tree: exp.Expr, tables: Collection[str], *, fold: bool) -> str | None:
    """The first table that is not on the list, as the query names it; None where all are.

    `fold`: names differ by more than case (SQLite); else a quoted name is meant as it is written. An entry without a
    schema is a table of the schema `public` or `main`.
    """
    from sqlglot import exp

    listed = {entry.casefold() if fold else entry for entry in tables}
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Func):
            continue  # a function in the place of a table was judged by its name
        name, schema = _name(table.this, fold), _name(table.args.get("db"), fold)
        if table.args.get("catalog") is not None:
            return table.sql()
        if schema is None and any(_cte_name(cte, fold) == name for cte in _ctes_in_sight(table)):
            continue
        if schema is None or schema in _OWN_SCHEMAS:
            if name not in listed and f"{schema}.{name}" not in listed:
                return name or table.sql()
        elif f"{schema}.{name}" not in listed:
            return f"{schema}.{name}"
    return None


def _name(identifier: object, fold: bool) -> str | None:
    from sqlglot import exp

    if not isinstance(identifier, exp.Identifier):
        return None
    text: str = identifier.this
    return text if identifier.quoted and not fold else text.casefold()


def _ctes_in_sight(table: exp.Expr) -> Iterator[exp.Expr]:
    """What a WITH around the table has named; one's own name and later ones only where it is RECURSIVE."""
    from sqlglot import exp

    inside: exp.Expr = table
    around = table.parent
    while around is not None:
        clause = around.args.get("with_")
        if isinstance(around, exp.With):
            body = inside
            earlier = itertools.takewhile(lambda cte: cte is not body, around.expressions)  # noqa: B023  # used up here
            yield from around.expressions if around.recursive else list(earlier)
        elif clause is not None and clause is not inside:
            yield from clause.expressions
        inside, around = around, around.parent


def _cte_name(cte: exp.Expr, fold: bool) -> str | None:
    alias = cte.args.get("alias")
    return None if alias is None else _name(alias.this, fold)
