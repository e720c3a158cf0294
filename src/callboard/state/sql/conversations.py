"""Units of work: conversations of continuous agents as people look at them and clear them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, select, update

from callboard.errors import ConflictError
from callboard.messaging.events import Actor
from callboard.state.codec import decode, encode
from callboard.state.memories import Conversation, ConversationPage, Forgotten
from callboard.state.models import agent_states, conversation_messages, runs
from callboard.state.runs import RunStatus
from callboard.state.sql import memories
from callboard.state.sql.answering import audit

_SHOWN = (
    agent_states.c.conversation_id,
    agent_states.c.version,
    agent_states.c.turns,
    agent_states.c.messages,
    agent_states.c.memory,
    agent_states.c.updated_at,
)


def conversations(connection: Connection, tenant: str, agent: str) -> list[Conversation]:
    """Everything the agent remembers, by conversation, the one that was written last first."""
    query = select(*_SHOWN).where(agent_states.c.tenant == tenant, agent_states.c.agent == agent)
    kept = {scope: (number, at) for scope, number, at in memories.counts(connection, tenant, agent)}
    found = [_conversation(row, *kept.pop(row.conversation_id, (0, None))) for row in connection.execute(query)]
    found += [
        Conversation(conversation_id=scope, entries=number, updated_at=at) for scope, (number, at) in kept.items()
    ]
    return sorted(found, key=lambda each: (each.updated_at is not None, each.updated_at), reverse=True)


def page(
    connection: Connection, tenant: str, agent: str, conversation_id: str, before: int | None, limit: int
) -> ConversationPage | None:
    """The last `limit` messages before the message `before`; None for a conversation of which nothing is known."""
    state = connection.execute(select(*_SHOWN).where(*_of(agent_states, tenant, agent, [conversation_id]))).first()
    kept = {scope: (number, at) for scope, number, at in memories.counts(connection, tenant, agent)}
    number, at = kept.get(conversation_id, (0, None))
    if state is None:
        if not number:
            return None
        alone = Conversation(conversation_id=conversation_id, entries=number, updated_at=at)
        return ConversationPage(conversation=alone, summary=None, summary_untrusted=False, messages=())
    query = select(conversation_messages.c.n, conversation_messages.c.run_id, conversation_messages.c.message).where(
        *_of(conversation_messages, tenant, agent, [conversation_id])
    )
    if before is not None:
        query = query.where(conversation_messages.c.n < before)
    rows = connection.execute(query.order_by(conversation_messages.c.n.desc()).limit(limit)).all()
    memory = decode(state.memory)
    return ConversationPage(
        conversation=_conversation(state, number, at),
        summary=memory.get("summary"),
        summary_untrusted=memory.get("untrusted", False),
        messages=tuple((row.n, row.run_id, decode(row.message)) for row in reversed(rows)),
    )


def clear(
    connection: Connection, tenant: str, agent: str, conversation_id: str | None, actor: Actor, now: datetime
) -> Forgotten:
    """Messages, summary and entries of one conversation, or of all. ConflictError while one is being worked on.

    The version goes on: a run that has read the old state cannot save upon the new one.
    """
    ids = _held(connection, tenant, agent, None if conversation_id is None else [conversation_id])
    messages = connection.execute(
        delete(conversation_messages).where(*_of(conversation_messages, tenant, agent, ids))
    ).rowcount
    empty = {"turns": 0, "messages": 0, "memory": encode({}), "run_id": None, "updated_at": now}
    connection.execute(
        update(agent_states)
        .where(*_of(agent_states, tenant, agent, ids))
        .values(**empty, version=agent_states.c.version + 1)
    )
    entries = memories.forget(connection, tenant, agent, conversation_id, None, None)
    done = Forgotten(entries=entries, messages=messages, conversations=len(ids))
    details = {"conversation_id": conversation_id, "entries": entries, "messages": messages}
    audit(connection, actor, "memory.clear", agent, details, now)
    return done


def forget(
    connection: Connection,
    tenant: str,
    agent: str,
    scope: str | None,
    key: str | None,
    run_id: str | None,
    actor: Actor,
    now: datetime,
) -> Forgotten:
    """Entries that fit all that is given; with a run and no key also what the run has added to conversations."""
    entries = memories.forget(connection, tenant, agent, scope, key, run_id)
    touched: dict[str, int] = {}
    if run_id is not None and key is None:
        touched = _purge(connection, tenant, agent, scope, run_id, now)
    done = Forgotten(entries=entries, messages=sum(touched.values()), conversations=len(touched))
    details = {"scope": scope, "key": key, "run_id": run_id, "entries": entries, "messages": done.messages}
    audit(connection, actor, "memory.forget", agent, details, now)
    return done


def _purge(
    connection: Connection, tenant: str, agent: str, scope: str | None, run_id: str, now: datetime
) -> dict[str, int]:
    """Messages of the run taken out of each conversation; a summary that may tell of them goes too."""
    query = (
        select(conversation_messages.c.conversation_id, conversation_messages.c.n)
        .where(
            conversation_messages.c.tenant == tenant,
            conversation_messages.c.agent == agent,
            conversation_messages.c.run_id == run_id,
        )
        .order_by(conversation_messages.c.n)
    )
    places: dict[str, list[int]] = {}
    for conversation_id, n in connection.execute(query):
        if scope is None or conversation_id == scope:
            places.setdefault(conversation_id, []).append(n)
    for conversation_id in _held(connection, tenant, agent, sorted(places)):
        at = _of(conversation_messages, tenant, agent, [conversation_id])
        gone = places[conversation_id]
        connection.execute(delete(conversation_messages).where(*at, conversation_messages.c.run_id == run_id))
        _close_up(connection, at, gone[0])
        here = _of(agent_states, tenant, agent, [conversation_id])
        memory = decode(connection.execute(select(agent_states.c.memory).where(*here)).scalar_one())
        connection.execute(
            update(agent_states)
            .where(*here)
            .values(
                version=agent_states.c.version + 1,
                messages=agent_states.c.messages - len(gone),
                memory=encode({} if gone[0] < memory.get("summarised", 0) else memory),
                updated_at=now,
            )
        )
    return {conversation_id: len(numbers) for conversation_id, numbers in places.items()}


def _close_up(connection: Connection, at: Sequence[ColumnElement[bool]], start: int) -> None:
    """Numbers without gaps again, in the order they had."""
    query = select(conversation_messages.c.n).where(*at, conversation_messages.c.n > start)
    later = connection.execute(query.order_by(conversation_messages.c.n)).scalars().all()
    for offset, n in enumerate(later):
        connection.execute(
            update(conversation_messages).where(*at, conversation_messages.c.n == n).values(n=start + offset)
        )


def _held(connection: Connection, tenant: str, agent: str, ids: Sequence[str] | None) -> list[str]:
    """The conversations that there are of these, their states locked; ConflictError while one is being worked on."""
    found = list(
        connection.execute(
            select(agent_states.c.conversation_id)
            .where(*_of(agent_states, tenant, agent, ids))
            .order_by(agent_states.c.conversation_id)
            .with_for_update()
        ).scalars()
    )
    busy = connection.execute(
        select(runs.c.run_id, runs.c.conversation_id).where(
            runs.c.tenant == tenant, runs.c.agent == agent, runs.c.status == RunStatus.RUNNING.value
        )
    ).all()
    at_work = next((run for run in busy if run.conversation_id in found), None)
    if at_work is not None:
        raise ConflictError(
            f"run {at_work.run_id} is at work in conversation {at_work.conversation_id}: wait until it has ended, or "
            "cancel it",
            code="conversation_busy",
        )
    return found


def _of(table: Any, tenant: str, agent: str, ids: Sequence[str] | None) -> tuple[ColumnElement[bool], ...]:
    """All conversations of the agent where `ids` is None."""
    own = (table.c.tenant == tenant, table.c.agent == agent)
    return own if ids is None else (*own, table.c.conversation_id.in_(ids))


def _conversation(row: Any, entries: int, written_at: datetime | None) -> Conversation:
    return Conversation(
        conversation_id=row.conversation_id,
        version=row.version,
        turns=row.turns,
        messages=row.messages,
        summarised=decode(row.memory).get("summarised", 0),
        entries=entries,
        updated_at=row.updated_at if written_at is None else max(row.updated_at, written_at),
    )
