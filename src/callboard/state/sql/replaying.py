"""Units of work: a run that is begun without being routed, and the conversation that a run was in when it began."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from callboard.state.agent_state import AgentState
from callboard.state.codec import decode
from callboard.state.database import one_statement
from callboard.state.effects import EffectRecord
from callboard.state.finishing import ChildDraft, Consequences
from callboard.state.models import conversation_messages, effects, progress, runs
from callboard.state.runs import RunResult
from callboard.state.sql import order
from callboard.state.sql.events import record_once
from callboard.state.sql.finishing import insert_runs
from callboard.state.sql.journal import effect_of
from callboard.state.sql.rows import run_row
from callboard.state.sql.run_queries import results_of
from callboard.state.story import ProgressLine


def begin_run(connection: Connection, draft: ChildDraft, now: datetime) -> Consequences:
    """The run with its event, which is never routed; begun again, nothing changes."""
    row = run_row(draft.run, now)
    order.lock_keys(connection, order.keys_of([row]))
    known = connection.execute(select(runs.c.seq).where(runs.c.run_id == draft.run.run_id)).first()
    if known is not None:
        return Consequences()
    stored = record_once(connection, [draft.event], routed=True)
    wakes = insert_runs(connection, [(row, draft.run.input)])
    return Consequences(events=stored, wakes=frozenset(wakes))


def conversation_before(
    connection: Connection, tenant: str, agent: str, conversation_id: str, run_id: str, begun: datetime, newest: int
) -> AgentState:
    """The conversation as it was when the run began, with its `newest` last messages of then; no memory beside them.

    A run that has left no message in it (it failed, or was a dry run) began after whatever was there at that time.
    """
    of_conversation = (
        conversation_messages.c.tenant == tenant,
        conversation_messages.c.agent == agent,
        conversation_messages.c.conversation_id == conversation_id,
    )
    first = connection.execute(
        select(func.min(conversation_messages.c.n)).where(*of_conversation, conversation_messages.c.run_id == run_id)
    ).scalar()
    before = conversation_messages.c.created_at < begun if first is None else conversation_messages.c.n < first
    count, turns = connection.execute(
        select(func.count(), func.count(func.distinct(conversation_messages.c.run_id))).where(*of_conversation, before)
    ).one()
    messages = connection.execute(
        select(conversation_messages.c.message)
        .where(*of_conversation, before)
        .order_by(conversation_messages.c.n.desc())
        .limit(newest)
    ).scalars()
    return AgentState(
        tenant=tenant,
        agent=agent,
        conversation_id=conversation_id,
        turns=turns,
        messages=count,
        history=tuple(decode(message) for message in reversed(list(messages))),
    )


@one_statement
def effects_of(connection: Connection, run_id: str, context_no: int) -> list[EffectRecord]:
    """The ledger of one context of a run, in the order of the calls' beginnings."""
    rows = connection.execute(
        select(effects)
        .where(effects.c.run_id == run_id, effects.c.context_no == context_no)
        .order_by(effects.c.started_at, effects.c.key)
    )
    return [effect_of(row) for row in rows.mappings()]


def family_of(connection: Connection, run_id: str) -> list[RunResult]:
    """The run and all that are under it, in the order of their beginnings."""
    family = select(runs.c.run_id).where(runs.c.run_id == run_id).cte("family", recursive=True)
    family = family.union_all(select(runs.c.run_id).join(family, runs.c.parent_run_id == family.c.run_id))
    return results_of(connection, runs.c.run_id.in_(select(family.c.run_id)))


@one_statement
def lines_of(connection: Connection, run_ids: Sequence[str], kinds: Sequence[str]) -> list[ProgressLine]:
    """The lines of those kinds in the progress of the runs, oldest first."""
    rows = connection.execute(
        select(progress)
        .where(progress.c.run_id.in_(run_ids), progress.c.kind.in_(kinds))
        .order_by(progress.c.created_at, progress.c.run_id, progress.c.n)
    )
    return [
        ProgressLine(run_id=row.run_id, n=row.n, kind=row.kind, data=row.data, created_at=row.created_at)
        for row in rows
    ]


@one_statement
def keys_noted(connection: Connection, run_id: str, kinds: Sequence[str]) -> frozenset[str]:
    """The keys of calls that lines of the run's progress of these kinds are about."""
    rows = connection.execute(
        select(progress.c.data).where(progress.c.run_id == run_id, progress.c.kind.in_(kinds))
    ).scalars()
    return frozenset(str(data["key"]) for data in rows if "key" in data)
