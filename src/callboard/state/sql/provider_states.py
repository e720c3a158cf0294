"""Units of work: what the workers know together of the model providers."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, bindparam, select, text, update

from callboard.state.database import one_statement
from callboard.state.models import UtcDateTime, provider_states
from callboard.state.provider_states import Decide, ProviderState

T = TypeVar("T")
_COLUMNS = tuple(field.name for field in fields(ProviderState))
_ADD = text(
    "INSERT INTO provider_states (tenant, name, failures, updated_at) VALUES (:tenant, :name, 0, :now) "
    "ON CONFLICT (tenant, name) DO NOTHING"
).bindparams(bindparam("now", type_=UtcDateTime))


@one_statement
def load_states(connection: Connection, tenant: str) -> list[ProviderState]:
    rows = connection.execute(select(provider_states).where(provider_states.c.tenant == tenant))
    return [_state(row) for row in rows.mappings()]


def change_state(
    connection: Connection, tenant: str, name: str, decide: Decide[T], now: datetime
) -> tuple[ProviderState, T]:
    """Nobody else changes the name between the reading and the commit; an equal state is not written."""
    row = connection.execute(_held(tenant, name)).mappings().first()
    if row is None:
        fresh = ProviderState(name=name)
        after, result = decide(fresh)
        if after == fresh:
            return fresh, result
        connection.execute(_ADD, {"tenant": tenant, "name": name, "now": now})
        row = connection.execute(_held(tenant, name)).mappings().one()
    before = _state(row)
    after, result = decide(before)
    if after == before:
        return before, result
    after = replace(after, name=name, updated_at=now)
    values = {column: getattr(after, column) for column in _COLUMNS if column != "name"}
    connection.execute(
        update(provider_states)
        .where(provider_states.c.tenant == tenant, provider_states.c.name == name)
        .values(**values)
    )
    return after, result


def _held(tenant: str, name: str) -> Select[Any]:
    return (
        select(provider_states)
        .where(provider_states.c.tenant == tenant, provider_states.c.name == name)
        .with_for_update()
    )


def _state(row: Any) -> ProviderState:
    return ProviderState(**{column: row[column] for column in _COLUMNS})
