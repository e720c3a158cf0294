"""Units of work: what continuous agents remember."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from callboard.errors import VersionConflictError
from callboard.state.agent_state import AgentState, ExecutionResult, StateSave
from callboard.state.codec import decode, encode
from callboard.state.models import agent_states, conversation_messages, run_io, runs


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


def execution_result(connection: Connection, run_id: str) -> ExecutionResult | None:
    """The end of a run, None while it has none."""
    row = connection.execute(
        select(runs.c.agent, runs.c.status, runs.c.cost_usd, runs.c.finished_at, run_io.c.output, run_io.c.error)
        .join(run_io, run_io.c.run_id == runs.c.run_id)
        .where(runs.c.run_id == run_id, runs.c.finished_at.is_not(None))
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
    """Applies each step by compare-and-set, returns the new versions; raises VersionConflictError, saving nothing."""
    return [_save(connection, save, now) for save in saves]


def _save(connection: Connection, save: StateSave, now: datetime) -> int:
    key = {"tenant": save.tenant, "agent": save.agent, "conversation_id": save.conversation_id}
    values = {
        "version": save.expected + 1,
        "fencing": save.fencing,
        "turns": save.turns,
        "memory": encode(save.memory),
        "run_id": save.run_id,
        "updated_at": now,
    }
    where = [agent_states.c[name] == value for name, value in key.items()]
    found = connection.execute(
        select(agent_states.c.version, agent_states.c.messages).where(*where).with_for_update()
    ).first()
    stored, messages = (0, 0) if found is None else (found.version, found.messages)
    if stored != save.expected:
        raise VersionConflictError(
            f"the state of {save.agent}/{save.conversation_id} is at version {stored}, not {save.expected}: load again"
        )
    values["messages"] = messages + len(save.appended)
    if found is None:
        connection.execute(insert(agent_states), [{**key, **values}])
    else:
        connection.execute(update(agent_states).where(*where).values(**values))
    if save.appended:
        connection.execute(
            insert(conversation_messages),
            [
                {**key, "n": messages + offset, "run_id": save.run_id, "message": encode(message), "created_at": now}
                for offset, message in enumerate(save.appended)
            ],
        )
    return save.expected + 1
