"""Units of work that only read: what was spent, and how much of a limit is left."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select

from callboard.state.budgets import Account, CostLine, Limit, Scope, Standing
from callboard.state.database import one_statement
from callboard.state.models import reservations, spending

_Key = tuple[str, str, str]
"""Scope, name and day of an account."""


@one_statement
def sums(connection: Connection, tenant: str, scope: Scope, first: str, last: str) -> list[CostLine]:
    """By name, the dearest first; for the whole installation by day, the newest first."""
    by_day = scope is Scope.GLOBAL
    key = spending.c.day if by_day else spending.c.name
    usd = func.sum(spending.c.usd)
    rows = connection.execute(
        select(
            key.label("key"),
            usd.label("usd"),
            func.sum(spending.c.estimated_usd).label("estimated_usd"),
            func.sum(spending.c.input_tokens).label("input_tokens"),
            func.sum(spending.c.output_tokens).label("output_tokens"),
            func.sum(spending.c.model_calls).label("model_calls"),
        )
        .where(
            spending.c.tenant == tenant,
            spending.c.scope == scope.value,
            spending.c.day >= first,
            spending.c.day <= last,
            spending.c.model_calls > 0,
        )
        .group_by(key)
        .order_by(key.desc() if by_day else usd.desc(), key)
    )
    return [
        CostLine(
            name=row.key,
            usd=float(row.usd),
            estimated_usd=float(row.estimated_usd),
            input_tokens=int(row.input_tokens),
            output_tokens=int(row.output_tokens),
            model_calls=int(row.model_calls),
        )
        for row in rows
    ]


def standings(connection: Connection, tenant: str, limits: Sequence[Limit]) -> list[Standing]:
    """In the order of the limits."""
    if not limits:
        return []
    spent, held = _spent(connection, tenant, {limit.account for limit in limits}), _held(connection, tenant)
    found = []
    for limit in limits:
        key = (limit.account.scope.value, limit.account.name, limit.account.day)
        row = spent.get(key)
        found.append(
            Standing(
                limit=limit,
                spent_usd=0.0 if row is None else row.usd,
                raised_usd=0.0 if row is None else row.raised_usd,
                others_usd=held.get(key, 0.0),
            )
        )
    return found


def _spent(connection: Connection, tenant: str, accounts: Set[Account]) -> dict[_Key, Row[Any]]:
    wanted = (
        and_(spending.c.scope == account.scope.value, spending.c.name == account.name, spending.c.day == account.day)
        for account in accounts
    )
    rows = connection.execute(select(spending).where(spending.c.tenant == tenant, or_(*wanted)))
    return {(row.scope, row.name, row.day): row for row in rows}


def _held(connection: Connection, tenant: str) -> dict[_Key, float]:
    """What reservations hold back, in USD."""
    key = (reservations.c.scope, reservations.c.name, reservations.c.day)
    held = func.sum(reservations.c.usd).label("usd")
    rows = connection.execute(select(*key, held).where(reservations.c.tenant == tenant).group_by(*key))
    return {(row.scope, row.name, row.day): float(row.usd) for row in rows}
