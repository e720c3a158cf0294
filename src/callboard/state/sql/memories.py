"""Units of work: the entries that agents keep in mind."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from callboard.errors import ConflictError
from callboard.messaging.events import Actor
from callboard.state.codec import decode, encode
from callboard.state.database import one_statement
from callboard.state.memories import Memory, Source
from callboard.state.models import memories
from callboard.state.sql.answering import audit


@one_statement
def entries(
    connection: Connection, tenant: str, agent: str, scope: str | None = None, key: str | None = None
) -> list[Memory]:
    """Newest first."""
    query = select(memories).where(*_where(tenant, agent, scope, key))
    rows = connection.execute(query.order_by(memories.c.updated_at.desc(), memories.c.key, memories.c.scope))
    return [_memory(row) for row in rows.mappings()]


def remember(connection: Connection, memory: Memory, max_entries: int, actor: Actor | None = None) -> bool:
    """Whether anything has changed: what is remembered already stays as it is, with where it came from.

    With an `actor` it is a person's doing and goes on record. ConflictError when the scope is full.
    """
    row = {
        "tenant": memory.tenant,
        "agent": memory.agent,
        "scope": memory.scope,
        "key": memory.key,
        "value": encode(memory.value),
        "source": _source_record(memory.source),
        "created_at": memory.updated_at,
        "updated_at": memory.updated_at,
    }
    at = _where(memory.tenant, memory.agent, memory.scope, memory.key)
    found = connection.execute(select(memories.c.value, memories.c.source).where(*at)).mappings().first()
    if found is not None and found["value"] == row["value"] and (actor is None or not found["source"]["untrusted"]):
        return False
    if found is None:
        in_scope = _where(memory.tenant, memory.agent, memory.scope, None)
        count = connection.execute(select(func.count()).select_from(memories).where(*in_scope)).scalar_one()
        if count >= max_entries:
            raise ConflictError(
                f"{count} entries are remembered here already and no more may be: write to a key that there is, or "
                f"have some forgotten with `callboard memory forget {memory.agent} KEY`",
                code="memory_full",
            )
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    changes = {name: row[name] for name in ("value", "source", "updated_at")}
    put = dialect.insert(memories).values(**row)
    connection.execute(put.on_conflict_do_update(index_elements=["tenant", "agent", "scope", "key"], set_=changes))
    if actor is not None:
        details = {"scope": memory.scope, "key": memory.key, "replaced": found is not None}
        audit(connection, actor, "memory.set", memory.agent, details, memory.updated_at)
    return True


def forget(
    connection: Connection, tenant: str, agent: str, scope: str | None, key: str | None, run_id: str | None
) -> int:
    """Of entries: all of the agent, or those of this scope, key and run; returns how many."""
    at = _where(tenant, agent, scope, key)
    if run_id is None:
        return connection.execute(delete(memories).where(*at)).rowcount
    rows = connection.execute(select(memories.c.scope, memories.c.key, memories.c.source).where(*at)).all()
    of_run = [row for row in rows if row.source.get("run_id") == run_id]
    for row in of_run:
        connection.execute(delete(memories).where(*_where(tenant, agent, row.scope, row.key)))
    return len(of_run)


def counts(connection: Connection, tenant: str, agent: str) -> Sequence[tuple[str, int, datetime]]:
    """(scope, entries, last change) of each scope that has entries."""
    query = (
        select(memories.c.scope, func.count(), func.max(memories.c.updated_at))
        .where(*_where(tenant, agent, None, None))
        .group_by(memories.c.scope)
    )
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def _where(tenant: str, agent: str, scope: str | None, key: str | None) -> tuple[ColumnElement[bool], ...]:
    wanted = [memories.c.tenant == tenant, memories.c.agent == agent]
    if scope is not None:
        wanted.append(memories.c.scope == scope)
    if key is not None:
        wanted.append(memories.c.key == key)
    return tuple(wanted)


def _memory(row: RowMapping) -> Memory:
    source = row["source"]
    return Memory(
        tenant=row["tenant"],
        agent=row["agent"],
        scope=row["scope"],
        key=row["key"],
        value=decode(row["value"]),
        source=Source(
            run_id=source["run_id"],
            actor=source["actor"],
            via=source["via"],
            at=datetime.fromisoformat(source["at"]),
            untrusted=source["untrusted"],
        ),
        updated_at=row["updated_at"],
    )


def _source_record(source: Source) -> dict[str, Any]:
    return {
        "run_id": source.run_id,
        "actor": source.actor,
        "via": source.via,
        "at": source.at.isoformat(),
        "untrusted": source.untrusted,
    }
