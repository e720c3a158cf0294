"""Units of work: the ledger of occurrences. The rows of the schedules themselves are in `sql/schedules`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, bindparam, func, insert, select, update

from callboard.ids import derive_id
from callboard.state.accepting import EventDraft
from callboard.state.finishing import StoredEvent
from callboard.state.models import events, occurrences, runs, schedules
from callboard.state.occurrences import (
    Entered,
    OccurrenceDraft,
    OccurrenceRecord,
    OccurrenceStatus,
    Overlap,
    Phase,
    ScheduleState,
)
from callboard.state.runs import RunStatus
from callboard.state.sql.events import accept_events
from callboard.state.sql.schedules import advance, lock_states

QUEUE_LIMIT = 100
"""So many occurrences of one schedule may wait for their predecessor; what comes then is skipped."""
_ENDED = tuple(status.value for status in RunStatus if status.terminal)


@dataclass(slots=True)
class _Busy:
    """What is unfinished of one schedule."""

    open: int = 0
    queued: int = 0


def enter(connection: Connection, drafts: Sequence[OccurrenceDraft], now: datetime, tenant: str) -> Entered:
    """Enters each nominal time at most once and accepts the events of those that are to run, all or nothing.

    Left out are times after `now`, times that are decided already, and schedules that are not registered.
    """
    states = lock_states(connection, {draft.schedule_id for draft in drafts}, tenant)
    fresh = _fresh(connection, drafts, states, now, tenant)
    busy = close_ended(connection, {draft.schedule_id for draft in fresh if draft.status.runs}, tenant)
    settled = [(draft, *_settle(draft, states[draft.schedule_id], busy)) for draft in fresh]
    accepted = _accept(connection, [draft for draft, _, phase, _ in settled if phase is Phase.OPEN])
    records = tuple(
        OccurrenceRecord(
            schedule_id=draft.schedule_id,
            agent=draft.agent,
            nominal_time=draft.nominal_time,
            decided_at=now,
            status=status,
            phase=phase,
            reason=reason,
            **(_links(draft) if phase is Phase.OPEN else {}),
        )
        for draft, status, phase, reason in settled
    )
    if records:
        connection.execute(insert(occurrences), [_row(record, tenant) for record in records])
    advance(connection, [draft for draft in fresh if not draft.manual], now, tenant)
    return Entered(occurrences=records, events=accepted)


def close_ended(connection: Connection, schedule_ids: Collection[str], tenant: str) -> dict[str, _Busy]:
    """Closes the open occurrences whose run has ended; returns what is left unfinished, by schedule.

    An event that is not routed yet counts as unfinished; one that was routed without giving its agent a run does not.
    """
    rows = connection.execute(
        select(occurrences.c.schedule_id, occurrences.c.nominal, occurrences.c.phase, runs.c.status, events.c.routed_at)
        .outerjoin(runs, runs.c.run_id == occurrences.c.run_id)
        .outerjoin(events, events.c.event_id == occurrences.c.event_id)
        .where(
            occurrences.c.tenant == tenant,
            occurrences.c.schedule_id.in_(schedule_ids),
            occurrences.c.phase != Phase.CLOSED.value,
        )
    ).all()
    busy = {schedule_id: _Busy() for schedule_id in schedule_ids}
    ended: list[dict[str, Any]] = []
    for row in rows:
        if row.phase == Phase.QUEUED:
            busy[row.schedule_id].queued += 1
        elif row.status in _ENDED or (row.status is None and row.routed_at is not None):
            ended.append({"b_schedule": row.schedule_id, "b_nominal": row.nominal})
        else:
            busy[row.schedule_id].open += 1
    if ended:
        connection.execute(_of_key(tenant).values(phase=Phase.CLOSED.value), ended)
    return busy


def queued_schedules(connection: Connection, tenant: str, limit: int) -> list[str]:
    """Schedules, not paused, of which an occurrence waits for its predecessor."""
    return list(
        connection.execute(
            select(occurrences.c.schedule_id)
            .distinct()
            .join(schedules, and_(schedules.c.tenant == tenant, schedules.c.id == occurrences.c.schedule_id))
            .where(
                occurrences.c.tenant == tenant,
                occurrences.c.phase == Phase.QUEUED.value,
                schedules.c.paused.is_(False),
            )
            .limit(limit)
        ).scalars()
    )


def heads_of_queues(connection: Connection, schedule_ids: Collection[str], tenant: str) -> list[OccurrenceRecord]:
    """Of each schedule with nothing open, the oldest occurrence that waits."""
    lock_states(connection, schedule_ids, tenant)
    free = [schedule_id for schedule_id, busy in close_ended(connection, schedule_ids, tenant).items() if not busy.open]
    return _newest_or_oldest(connection, free, tenant, func.min, occurrences.c.phase == Phase.QUEUED.value)


def release(connection: Connection, drafts: Sequence[OccurrenceDraft], now: datetime, tenant: str) -> Entered:
    """Starts occurrences that waited; a draft without an event (its schedule is gone) is skipped instead.

    Left out are those that are no longer queued, and those whose schedule has something open again.
    """
    wanted = {(draft.schedule_id, draft.nominal_time): draft for draft in drafts}
    heads = heads_of_queues(connection, {draft.schedule_id for draft in drafts}, tenant)
    chosen = [
        (head, wanted[head.schedule_id, head.nominal_time])
        for head in heads
        if (head.schedule_id, head.nominal_time) in wanted
    ]
    accepted = _accept(connection, [draft for _, draft in chosen])
    records = tuple(_released(head, draft) for head, draft in chosen)
    if records:
        changed = ("status", "phase", "reason", "event_id", "run_id", "trace_id")
        connection.execute(
            _of_key(tenant).values({name: bindparam(f"n_{name}") for name in changed}),
            [
                {"b_schedule": record.schedule_id, "b_nominal": record.nominal_time}
                | {f"n_{name}": value for name, value in _row(record, tenant).items() if name in changed}
                for record in records
            ],
        )
    return Entered(occurrences=records, events=accepted)


def history(
    connection: Connection,
    tenant: str,
    *,
    agent: str | None,
    schedule_id: str | None,
    before: datetime | None,
    limit: int,
) -> list[OccurrenceRecord]:
    """Newest nominal times first; `before` is where the last page ended."""
    query = select(occurrences).where(occurrences.c.tenant == tenant)
    if agent is not None:
        query = query.where(occurrences.c.agent == agent)
    if schedule_id is not None:
        query = query.where(occurrences.c.schedule_id == schedule_id)
    if before is not None:
        query = query.where(occurrences.c.nominal < before)
    query = query.order_by(occurrences.c.nominal.desc(), occurrences.c.schedule_id).limit(limit)
    return [_record(row) for row in connection.execute(query).mappings()]


def latest(connection: Connection, schedule_ids: Collection[str], tenant: str) -> list[OccurrenceRecord]:
    """The newest occurrence of each schedule that has one."""
    return _newest_or_oldest(connection, schedule_ids, tenant, func.max)


def _fresh(
    connection: Connection,
    drafts: Sequence[OccurrenceDraft],
    states: dict[str, ScheduleState],
    now: datetime,
    tenant: str,
) -> list[OccurrenceDraft]:
    rows = connection.execute(
        select(occurrences.c.schedule_id, occurrences.c.nominal).where(
            occurrences.c.tenant == tenant,
            occurrences.c.schedule_id.in_(states),
            occurrences.c.nominal.in_({draft.nominal_time for draft in drafts}),
        )
    )
    known = {(row.schedule_id, row.nominal) for row in rows}
    wanted = {
        (draft.schedule_id, draft.nominal_time): draft
        for draft in drafts
        if draft.schedule_id in states
        and draft.nominal_time <= now
        and (draft.manual or draft.nominal_time > states[draft.schedule_id].position)
    }
    return [draft for key, draft in wanted.items() if key not in known]


def _settle(
    draft: OccurrenceDraft, state: ScheduleState, busy: dict[str, _Busy]
) -> tuple[OccurrenceStatus, Phase, str | None]:
    """The decision once pause and overlap are known; counts what it starts or queues in `busy`."""
    if not draft.status.runs:
        return draft.status, Phase.CLOSED, draft.reason
    load = busy[draft.schedule_id]
    if not draft.manual:
        if state.paused:
            return OccurrenceStatus.SKIPPED, Phase.CLOSED, "paused"
        if draft.overlap is Overlap.SKIP and (load.open or load.queued):
            return OccurrenceStatus.SKIPPED, Phase.CLOSED, "the run before it has not ended, and overlap is skip"
        if draft.overlap is Overlap.QUEUE and (load.open or load.queued):
            if load.queued >= QUEUE_LIMIT:
                return OccurrenceStatus.SKIPPED, Phase.CLOSED, f"{QUEUE_LIMIT} occurrences wait already"
            load.queued += 1
            return draft.status, Phase.QUEUED, draft.reason
    load.open += 1
    return draft.status, Phase.OPEN, draft.reason


def _accept(connection: Connection, drafts: Iterable[OccurrenceDraft]) -> tuple[StoredEvent, ...]:
    accepting = [EventDraft(event=draft.event) for draft in drafts if draft.event is not None]
    if not accepting:
        return ()
    answers = accept_events(connection, accepting)
    return tuple(
        StoredEvent(seq=answer.seq, event=draft.event)
        for draft, answer in zip(accepting, answers, strict=True)
        if not answer.duplicate
    )


def _released(head: OccurrenceRecord, draft: OccurrenceDraft) -> OccurrenceRecord:
    if draft.event is None:
        return replace(head, status=OccurrenceStatus.SKIPPED, phase=Phase.CLOSED, reason=draft.reason)
    links = _links(draft)
    return replace(
        head,
        phase=Phase.OPEN,
        reason=draft.reason or head.reason,
        event_id=links["event_id"],
        run_id=links["run_id"],
        trace_id=links["trace_id"],
    )


def _links(draft: OccurrenceDraft) -> dict[str, str]:
    if draft.event is None:
        return {}
    event = draft.event
    return {
        "event_id": event.event_id,
        "run_id": derive_id("run", event.event_id, draft.agent),
        "trace_id": event.trace_id,
    }


def _of_key(tenant: str) -> Any:
    return update(occurrences).where(
        occurrences.c.tenant == tenant,
        occurrences.c.schedule_id == bindparam("b_schedule"),
        occurrences.c.nominal == bindparam("b_nominal"),
    )


def _newest_or_oldest(
    connection: Connection, schedule_ids: Collection[str], tenant: str, pick: Any, *conditions: Any
) -> list[OccurrenceRecord]:
    chosen = (
        select(occurrences.c.schedule_id, pick(occurrences.c.nominal).label("nominal"))
        .where(occurrences.c.tenant == tenant, occurrences.c.schedule_id.in_(schedule_ids), *conditions)
        .group_by(occurrences.c.schedule_id)
        .subquery()
    )
    rows = connection.execute(
        select(occurrences)
        .join(
            chosen,
            and_(occurrences.c.schedule_id == chosen.c.schedule_id, occurrences.c.nominal == chosen.c.nominal),
        )
        .where(occurrences.c.tenant == tenant)
    )
    return [_record(row) for row in rows.mappings()]


def _row(record: OccurrenceRecord, tenant: str) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "schedule_id": record.schedule_id,
        "nominal": record.nominal_time,
        "agent": record.agent,
        "status": record.status.value,
        "phase": record.phase.value,
        "reason": record.reason,
        "event_id": record.event_id,
        "run_id": record.run_id,
        "trace_id": record.trace_id,
        "created_at": record.decided_at,
    }


def _record(row: RowMapping) -> OccurrenceRecord:
    return OccurrenceRecord(
        schedule_id=row["schedule_id"],
        agent=row["agent"],
        nominal_time=row["nominal"],
        decided_at=row["created_at"],
        status=OccurrenceStatus(row["status"]),
        phase=Phase(row["phase"]),
        reason=row["reason"],
        event_id=row["event_id"],
        run_id=row["run_id"],
        trace_id=row["trace_id"],
    )
