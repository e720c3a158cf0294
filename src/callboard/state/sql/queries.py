"""Units of work that only read: events, and everything that was recorded under one trace id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from callboard.state.clarifications import Clarification
from callboard.state.codec import decode
from callboard.state.database import one_statement
from callboard.state.effects import EffectStatus
from callboard.state.finishing import StoredEvent
from callboard.state.models import clarifications, effects, events, operations, outbox, progress, run_messages, runs
from callboard.state.runs import RunStatus
from callboard.state.sql.deliveries import load_deliveries
from callboard.state.sql.questions import clarification_of
from callboard.state.sql.rows import run_of, stored_event
from callboard.state.sql.run_queries import errors_of
from callboard.state.story import EffectRecord, MessageRecord, Operation, ProgressLine, Story

REASONING = (
    "model_call",
    "model_failed",
    "tool_call",
    "tool_result",
    "policy",
    "approval",
    "plan",
    "plan_refused",
    "plan_step",
    "would_do",
    "would_ask",
    "recorded",
    "not_recorded",
    "paused",
)
"""The lines of a run that tell what it thought, wanted, was allowed, saw and waited for."""
LONGEST_STORY = 2_000
"""So many records of each kind are read of one trace id."""


@one_statement
def load_event(connection: Connection, tenant: str, event_id: str) -> StoredEvent | None:
    wanted = select(events).where(events.c.event_id == event_id, events.c.tenant == tenant)
    row = connection.execute(wanted).mappings().first()
    return None if row is None else stored_event(row)


@one_statement
def known_events(connection: Connection, event_ids: Sequence[str]) -> set[str]:
    """Those of the ids that are stored."""
    return set(connection.execute(select(events.c.event_id).where(events.c.event_id.in_(event_ids))).scalars())


@one_statement
def belongs_elsewhere(connection: Connection, tenant: str, trace_id: str) -> bool:
    """Whether anything under the trace id is another tenant's."""
    theirs = select(events.c.seq).where(events.c.trace_id == trace_id, events.c.tenant != tenant)
    return connection.execute(theirs.limit(1)).first() is not None


def load_story(connection: Connection, tenant: str, trace_id: str) -> Story:
    """In one transaction, so that the parts fit together."""
    told = connection.execute(
        select(events)
        .where(events.c.tenant == tenant, events.c.trace_id == trace_id)
        .order_by(events.c.seq)
        .limit(LONGEST_STORY)
    )
    heard = [stored_event(row) for row in told.mappings()]
    worked = connection.execute(
        select(runs)
        .where(runs.c.tenant == tenant, runs.c.trace_id == trace_id)
        .order_by(runs.c.seq)
        .limit(LONGEST_STORY)
    )
    found = [run_of(row) for row in worked.mappings()]
    ids = [run.run_id for run in found]
    return Story(
        trace_id=trace_id,
        events=heard,
        runs=found,
        errors=errors_of(connection, ids),
        effects=_effects(connection, ids),
        messages=_messages(connection, ids),
        progress=_progress(connection, ids),
        clarifications=_clarifications(connection, ids),
        deliveries=[
            delivery
            for delivery in load_deliveries(connection, trace_id=trace_id)[:LONGEST_STORY]
            if delivery.tenant == tenant
        ],
    )


@one_statement
def list_operations(connection: Connection, tenant: str, before: int | None, limit: int) -> list[Operation]:
    """Newest first."""
    query = select(operations).where(operations.c.tenant == tenant)
    if before is not None:
        query = query.where(operations.c.id < before)
    return [
        Operation(
            id=row.id,
            actor=row.actor,
            action=row.action,
            object=row.object,
            details=row.details,
            created_at=row.created_at,
        )
        for row in connection.execute(query.order_by(operations.c.id.desc()).limit(limit))
    ]


@one_statement
def count_outbox(connection: Connection) -> int:
    """How many events have not been told yet."""
    return connection.execute(select(func.count()).select_from(outbox)).scalar_one()


def _effects(connection: Connection, run_ids: Sequence[str]) -> list[EffectRecord]:
    rows = connection.execute(
        select(effects, runs.c.status.label("of_run"), runs.c.fencing.label("present"))
        .join(runs, runs.c.run_id == effects.c.run_id)
        .where(effects.c.run_id.in_(run_ids))
        .order_by(effects.c.started_at)
        .limit(LONGEST_STORY)
    )
    return [
        EffectRecord(
            run_id=row.run_id,
            key=row.key,
            tool=row.tool,
            status="unknown" if _given_up(row) else row.status,
            started_at=row.started_at,
            finished_at=row.finished_at,
        )
        for row in rows
    ]


def _given_up(effect: Row[Any]) -> bool:
    """Whether the claim that began the call has gone before it ended, by whatever way."""
    at_it = effect.of_run == RunStatus.RUNNING and effect.fencing == effect.present
    return effect.status == EffectStatus.ATTEMPTING and not at_it


def _messages(connection: Connection, run_ids: Sequence[str]) -> list[MessageRecord]:
    rows = connection.execute(
        select(run_messages)
        .where(run_messages.c.run_id.in_(run_ids))
        .order_by(run_messages.c.created_at, run_messages.c.context_no, run_messages.c.n)
        .limit(LONGEST_STORY)
    )
    return [
        MessageRecord(
            run_id=row.run_id,
            context_no=row.context_no,
            n=row.n,
            message=decode(row.message),
            created_at=row.created_at,
        )
        for row in rows
    ]


def _progress(connection: Connection, run_ids: Sequence[str]) -> list[ProgressLine]:
    """What runs thought and did; a line a status change is no news here."""
    rows = connection.execute(
        select(progress)
        .where(progress.c.run_id.in_(run_ids), progress.c.kind.in_(REASONING))
        .order_by(progress.c.created_at, progress.c.run_id, progress.c.n)
        .limit(LONGEST_STORY)
    )
    return [
        ProgressLine(run_id=row.run_id, n=row.n, kind=row.kind, data=row.data, created_at=row.created_at)
        for row in rows
    ]


def _clarifications(connection: Connection, run_ids: Sequence[str]) -> list[Clarification]:
    rows = connection.execute(
        select(clarifications)
        .where(clarifications.c.run_id.in_(run_ids))
        .order_by(clarifications.c.asked_at, clarifications.c.id)
        .limit(LONGEST_STORY)
    )
    return [clarification_of(row) for row in rows.mappings()]
