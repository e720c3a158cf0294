"""Units of work: what continuous agents remember."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from callboard.errors import VersionConflictError
from callboard.state.agent_state import AgentState, ExecutionResult, StateSave
from callboard.state.codec import decode, encode
from callboard.state.database import one_statement
from callboard.state.models import agent_states, conversation_messages, run_io, runs
from callboard.state.sql.direct import change, fetch


def load_state(connection: Connection, tenant: str, agent: str, conversation_id: str, newest: int) -> AgentState:
    """The stored state with its `newest` last messages; an empty one of version 0 where there is none."""
    row = (
        connection.execute(
            select(agent_states).where(
                agent_states.c.tenant == tenant,
                agent_states.c.agent == agent,
                agent_states.c.conversation_id == conversation_id,
            )
        )
        .mappings()
        .first()
    )
    if row is None:
        return AgentState(agent=agent, conversation_id=conversation_id, tenant=tenant)
    messages = connection.execute(
        select(conversation_messages.c.message)
        .where(
            conversation_messages.c.tenant == tenant,
            conversation_messages.c.agent == agent,
            conversation_messages.c.conversation_id == conversation_id,
            conversation_messages.c.n >= row["messages"] - newest,
        )
        .order_by(conversation_messages.c.n)
    ).scalars()
    return AgentState(
        tenant=tenant,
        agent=agent,
        conversation_id=conversation_id,
        version=row["version"],
        turns=row["turns"],
        messages=row["messages"],
        memory=decode(row["memory"]),
        history=tuple(decode(message) for message in messages),
        run_id=row["run_id"],
        updated_at=row["updated_at"],
    )


@one_statement
def execution_result(connection: Connection, tenant: str, run_id: str) -> ExecutionResult | None:
    """The end of a run, None while it has none."""
    row = connection.execute(
        select(runs.c.agent, runs.c.status, runs.c.cost_usd, runs.c.finished_at, run_io.c.output, run_io.c.error)
        .join(run_io, run_io.c.run_id == runs.c.run_id)
        .where(runs.c.run_id == run_id, runs.c.tenant == tenant, runs.c.finished_at.is_not(None))
    ).first()
    if row is None:
        return None
    return ExecutionResult(
        execution_id=run_id,
        agent_id=row.agent,
        status=row.status,
        output=None if row.output is None else decode(row.output),
        error=row.error,
        cost_usd=row.cost_usd,
        finished_at=row.finished_at,
    )


def latest_conversation(connection: Connection, tenant: str, agent: str) -> str | None:
    """The conversation of the agent that was written last."""
    return connection.execute(
        select(agent_states.c.conversation_id)
        .where(agent_states.c.tenant == tenant, agent_states.c.agent == agent)
        .order_by(agent_states.c.updated_at.desc())
        .limit(1)
    ).scalar()


def save_states(connection: Connection, saves: Sequence[StateSave], now: datetime) -> list[int]:
    """Applies each step by compare-and-set, returns the new versions; raises VersionConflictError, saving nothing.

    May be repeated when nobody knows whether it was committed.
    """
    return [_save(connection, save, now) for save in saves]


@one_statement
def save_memory(connection: Connection, save: StateSave, now: datetime) -> int:
    """The same for one step that appends no message, which is one statement."""
    return _save(connection, save, now)


def _save(connection: Connection, save: StateSave, now: datetime) -> int:
    key = {"b_tenant": save.tenant, "b_agent": save.agent, "b_conversation": save.conversation_id}
    values = {
        "b_version": save.expected + 1,
        "b_fencing": save.fencing,
        "b_turns": save.turns,
        "b_appended": len(save.appended),
        "b_memory": encode(save.memory),
        "b_run": save.run_id,
        "b_now": now,
    }
    if save.expected:
        done = fetch(connection, _NEXT, {**key, **values, "b_expected": save.expected})
    else:
        first = _FIRST_POSTGRESQL if connection.dialect.name == "postgresql" else _FIRST_SQLITE
        done = fetch(connection, first, {**key, **values})
    if not done:
        return _saved_before(connection, save, key, values)
    messages = done[0]["messages"] - len(save.appended)
    change(
        connection,
        _MESSAGES,
        [
            {
                "tenant": save.tenant,
                "agent": save.agent,
                "conversation_id": save.conversation_id,
                "n": messages + offset,
                "run_id": save.run_id,
                "message": encode(message),
                "created_at": now,
            }
            for offset, message in enumerate(save.appended)
        ],
    )
    return save.expected + 1


def _saved_before(connection: Connection, save: StateSave, key: Mapping[str, Any], values: Mapping[str, Any]) -> int:
    """The version, where the state is what this very step would leave; else VersionConflictError (DESIGN.md, R7)."""
    found = fetch(connection, _STORED, key)
    stored = found[0]["version"] if found else 0
    same = ("version", "fencing", "turns", "memory")
    if (
        found
        and all(found[0][name] == values[f"b_{name}"] for name in same)
        and (found[0]["run_id"], found[0]["updated_at"]) == (save.run_id, values["b_now"])
    ):
        return save.expected + 1
    raise VersionConflictError(
        f"the state of {save.agent}/{save.conversation_id} is at version {stored}, not {save.expected}: load again"
    )


_OF_CONVERSATION = (
    agent_states.c.tenant == bindparam("b_tenant"),
    agent_states.c.agent == bindparam("b_agent"),
    agent_states.c.conversation_id == bindparam("b_conversation"),
)
_STEP: dict[str, Any] = {
    "version": bindparam("b_version"),
    "fencing": bindparam("b_fencing"),
    "turns": bindparam("b_turns"),
    "memory": bindparam("b_memory"),
    "run_id": bindparam("b_run"),
    "updated_at": bindparam("b_now"),
}
_NEXT = (
    update(agent_states)
    .where(*_OF_CONVERSATION, agent_states.c.version == bindparam("b_expected"))
    .values(**_STEP, messages=agent_states.c.messages + bindparam("b_appended"))
    .returning(agent_states.c.messages)
)
_FIRST = {
    "tenant": bindparam("b_tenant"),
    "agent": bindparam("b_agent"),
    "conversation_id": bindparam("b_conversation"),
    "messages": bindparam("b_appended"),
    **_STEP,
}
_FIRST_POSTGRESQL, _FIRST_SQLITE = (
    dialect.insert(agent_states).values(**_FIRST).on_conflict_do_nothing().returning(agent_states.c.messages)
    for dialect in (postgresql, sqlite)
)
_STORED = select(
    agent_states.c.version,
    agent_states.c.fencing,
    agent_states.c.turns,
    agent_states.c.memory,
    agent_states.c.run_id,
    agent_states.c.updated_at,
).where(*_OF_CONVERSATION)
_MESSAGES = insert(conversation_messages)
