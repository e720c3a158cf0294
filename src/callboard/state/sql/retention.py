"""Units of work that delete what is past its time, a portion each: short transactions, in whatever order they come.

Each may run in several processes at once: rows that another one holds are passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, and_, bindparam, delete, exists, func, or_, select, text, tuple_

from callboard.state.budgets import Scope, day_of
from callboard.state.deliveries import DeliveryStatus
from callboard.state.models import (
    ACTIVE,
    agent_beats,
    artifacts,
    clarifications,
    dead_letters,
    dedupe_keys,
    deliveries,
    effects,
    events,
    occurrences,
    order_keys,
    outbox,
    plan_revisions,
    plan_run_states,
    plans,
    processes,
    progress,
    reservations,
    run_io,
    run_messages,
    runs,
    schedules,
    spending,
)
from callboard.state.occurrences import Phase
from callboard.state.runs import RunStatus
from callboard.state.sql.direct import change

_ENDED = tuple(status.value for status in RunStatus if status.terminal)
_OPEN_DELIVERIES = (DeliveryStatus.PLANNED.value, DeliveryStatus.ATTEMPTING.value)
_OF_A_RUN = (
    run_io,
    run_messages,
    effects,
    progress,
    plans,
    plan_revisions,
    plan_run_states,
    clarifications,
    artifacts,
)


_OF_KEY = (runs.c.tenant == order_keys.c.tenant, text(f"runs.{ACTIVE}"))
# By its whole key and a row at a time: SQLite would look through all keys for a list of pairs. Two questions, each of a
# partial index of its own.
DELETE_IDLE_KEY = delete(order_keys).where(
    order_keys.c.tenant == bindparam("b_tenant"),
    order_keys.c.key == bindparam("b_key"),
    ~exists().where(runs.c.order_key == order_keys.c.key, *_OF_KEY),
    ~exists().where(runs.c.place_key == order_keys.c.key, *_OF_KEY),
)


@dataclass(frozen=True, slots=True)
class Portion:
    """How many were deleted, and from where to go on; None when there is nothing more to look at."""

    deleted: int
    after: Any = None


def delete_dedupe_keys(connection: Connection, before: datetime, after: Any, limit: int) -> Portion:
    return _delete_some(
        connection, dedupe_keys, dedupe_keys.c.created_at < before, limit, order=dedupe_keys.c.created_at
    )


def delete_dead_letters(connection: Connection, before: datetime, after: Any, limit: int) -> Portion:
    """Those that somebody has requeued or dropped; the others wait for somebody."""
    return _delete_some(connection, dead_letters, dead_letters.c.closed_at < before, limit)


def delete_processes(connection: Connection, before: datetime, after: Any, limit: int) -> Portion:
    """The long dead. A process without a row is as dead to itself as one whose row says so (DESIGN.md, R14)."""
    busy = exists().where(runs.c.owner == processes.c.id, runs.c.status == RunStatus.RUNNING.value)
    return _delete_some(connection, processes, and_(processes.c.dead, processes.c.beat_at < before, ~busy), limit)


def delete_agent_beats(connection: Connection, before: datetime, after: Any, limit: int) -> Portion:
    """Signs of life that processes without a row have left."""
    gone = ~exists().where(processes.c.id == agent_beats.c.process_id)
    return _delete_some(connection, agent_beats, and_(agent_beats.c.updated_at < before, gone), limit)


def delete_occurrences(connection: Connection, before: datetime, after: Any, limit: int) -> Portion:
    """Closed ones, of a few schedules at a time. The newest of each schedule stays, as what it did last."""
    first = ("", "") if after is None else after
    key = tuple_(schedules.c.tenant, schedules.c.id)
    looked_at = [
        (row.tenant, row.id)
        for row in connection.execute(
            select(schedules.c.tenant, schedules.c.id).where(key > tuple_(*first)).order_by(*key).limit(limit)
        )
    ]
    deleted = 0
    newest = occurrences.alias("newest")
    for tenant, schedule_id in looked_at:
        of_it = and_(newest.c.tenant == tenant, newest.c.schedule_id == schedule_id)
        old = and_(
            occurrences.c.tenant == tenant,
            occurrences.c.schedule_id == schedule_id,
            occurrences.c.nominal < before,
            occurrences.c.nominal < select(func.max(newest.c.nominal)).where(of_it).scalar_subquery(),
            occurrences.c.created_at < before,
            occurrences.c.phase == Phase.CLOSED.value,
        )
        part = _delete_some(connection, occurrences, old, limit - deleted)
        deleted += part.deleted
        if deleted >= limit:
            return Portion(deleted, first)
        first = (tenant, schedule_id)
    return Portion(deleted, first if len(looked_at) == limit else None)


def delete_runs(connection: Connection, before: datetime, after: Any, limit: int) -> Portion:
    """Whole families: a run that a person asked for and all its steps, once the last of them has long ended."""
    looked_at = connection.execute(
        select(runs.c.seq, runs.c.run_id, runs.c.status, runs.c.created_at, runs.c.finished_at)
        .where(runs.c.seq > (after or 0), runs.c.parent_run_id.is_(None))
        .order_by(runs.c.seq)
        .limit(limit)
    ).all()
    roots = [row.run_id for row in looked_at if row.status in _ENDED and row.finished_at < before]
    families = _families(connection, roots, before)
    needed = _needed(connection, [run_id for family in families for run_id in family])
    gone = _locked(connection, [family for family in families if needed.isdisjoint(family)])
    if gone:
        for table in _OF_A_RUN:
            connection.execute(delete(table).where(table.c.run_id.in_(gone)))
        connection.execute(delete(runs).where(runs.c.run_id.in_(gone)))
    young = all(row.created_at >= before for row in looked_at)
    return Portion(len(gone), None if young or len(looked_at) < limit else looked_at[-1].seq)


def delete_order_keys(connection: Connection, before: datetime, after: Any, limit: int) -> Portion:
    """Keys of which no run is under way or in line, and that were last used before runs that began before that time.

    A key that is deleted is added again by its next run, with higher numbers than any run has (`sql.order`): so one
    that goes a little early does no harm. Whoever holds a key is passed over, and nothing else is locked (R8).
    """
    key = (order_keys.c.tenant, order_keys.c.key)
    first_young = select(runs.c.seq).where(runs.c.created_at >= before).order_by(runs.c.seq).limit(1).scalar_subquery()
    query = select(*key).where(or_(first_young.is_(None), order_keys.c.next_seq <= first_young))
    if after is not None:
        query = query.where(tuple_(*key) > tuple_(*after))
    rows = connection.execute(query.order_by(*key).limit(limit).with_for_update(skip_locked=True, of=order_keys)).all()
    if not rows:
        return Portion(0)
    # Asked again under the lock: nobody takes a turn meanwhile.
    deleted = change(connection, DELETE_IDLE_KEY, [{"b_tenant": row.tenant, "b_key": row.key} for row in rows])
    return Portion(deleted, tuple(rows[-1]) if len(rows) == limit else None)


def delete_reservations(connection: Connection, before: datetime, after: Any, limit: int) -> Portion:
    """Of runs that no longer run, if there are any: each claim's end settles what it had reserved."""
    alive = exists().where(runs.c.run_id == reservations.c.run_id, runs.c.status == RunStatus.RUNNING.value)
    return _delete_some(connection, reservations, and_(reservations.c.created_at < before, ~alive), limit)


def delete_spending(connection: Connection, before: datetime, after: Any, limit: int) -> Portion:
    """What was spent on days before that day; and by runs that are gone."""
    of_run = spending.c.scope == Scope.RUN.value
    gone = ~exists().where(runs.c.run_id == spending.c.name)
    old = and_(spending.c.day != "", spending.c.day < day_of(before))
    return _delete_some(connection, spending, or_(and_(of_run, gone), old), limit)


def delete_deliveries(connection: Connection, before: datetime, after: Any, limit: int) -> Portion:
    """Messages that were sent or given up, once the run or the question that they tell of is gone."""
    looked_at = connection.execute(
        select(deliveries.c.seq, deliveries.c.created_at)
        .where(deliveries.c.seq > (after or 0))
        .order_by(deliveries.c.seq)
        .limit(limit)
    ).all()
    deleted = connection.execute(
        delete(deliveries).where(
            deliveries.c.seq.in_([row.seq for row in looked_at if row.created_at < before]),
            deliveries.c.updated_at < before,
            deliveries.c.status.not_in(_OPEN_DELIVERIES),
            ~exists().where(runs.c.run_id == deliveries.c.run_id),
            ~exists().where(clarifications.c.id == deliveries.c.clarification_id),
        )
    ).rowcount
    young = all(row.created_at >= before for row in looked_at)
    return Portion(deleted, None if young or len(looked_at) < limit else looked_at[-1].seq)


def delete_events(connection: Connection, before: datetime, after: Any, limit: int) -> Portion:
    """Events that were routed and told, once the runs that they started are gone.

    An event outlives its dedupe keys: a repetition is answered with it. Its time may be another system's, so one that
    seems young does not end the search.
    """
    looked_at = connection.execute(
        select(events.c.seq, events.c.event_id, events.c.accepted_at)
        .where(events.c.seq > (after or 0))
        .order_by(events.c.seq)
        .limit(limit)
    ).all()
    old = [row.event_id for row in looked_at if row.accepted_at < before]
    unfinished = _unfinished(connection, occurrences.c.event_id, old)
    deleted = connection.execute(
        delete(events).where(
            events.c.event_id.in_([event_id for event_id in old if event_id not in unfinished]),
            events.c.routed_at.is_not(None),
            ~exists().where(runs.c.event_id == events.c.event_id),
            ~exists().where(outbox.c.event_seq == events.c.seq),
        )
    ).rowcount
    return Portion(deleted, None if not old or len(looked_at) < limit else looked_at[-1].seq)


def _delete_some(connection: Connection, table: Table, condition: Any, limit: int, *, order: Any = None) -> Portion:
    keys = list(table.primary_key.columns)
    chosen = select(*keys).where(condition).order_by(*([] if order is None else [order])).limit(limit)
    rows = connection.execute(chosen.with_for_update(skip_locked=True, of=table)).all()
    if not rows:
        return Portion(0)
    deleted = connection.execute(delete(table).where(tuple_(*keys).in_([tuple(row) for row in rows]))).rowcount
    return Portion(deleted, True if len(rows) == limit else None)


def _families(connection: Connection, roots: Sequence[str], before: datetime) -> list[list[str]]:
    """The roots with everything under them, without those of which anything is alive or young."""
    root_of = {run_id: run_id for run_id in roots}
    spared: set[str] = set()
    frontier: list[str] = list(roots)
    while frontier:
        rows = connection.execute(
            select(runs.c.run_id, runs.c.parent_run_id, runs.c.status, runs.c.finished_at).where(
                runs.c.parent_run_id.in_(frontier)
            )
        ).all()
        for row in rows:
            root = root_of[row.run_id] = root_of[row.parent_run_id]
            if row.status not in _ENDED or row.finished_at >= before:
                spared.add(root)
        frontier = [row.run_id for row in rows]
    families: dict[str, list[str]] = {root: [] for root in roots if root not in spared}
    for run_id, root in root_of.items():
        if root in families:
            families[root].append(run_id)
    return list(families.values())


def _needed(connection: Connection, run_ids: Sequence[str]) -> set[str]:
    """Runs that a message still tells of, or that an occurrence is not known to have ended with."""
    owed = select(deliveries.c.run_id).where(
        deliveries.c.run_id.in_(run_ids), deliveries.c.status.in_(_OPEN_DELIVERIES)
    )
    return {*connection.execute(owed).scalars(), *_unfinished(connection, occurrences.c.run_id, run_ids)}


def _unfinished(connection: Connection, column: Any, ids: Collection[str]) -> set[str]:
    return set(
        connection.execute(select(column).where(occurrences.c.phase != Phase.CLOSED.value, column.in_(ids))).scalars()
    )


def _locked(connection: Connection, families: Sequence[Sequence[str]]) -> list[str]:
    """All runs of the families that nobody else is at work on."""
    wanted = sorted(run_id for family in families for run_id in family)
    query = select(runs.c.run_id).where(runs.c.run_id.in_(wanted)).order_by(runs.c.run_id)
    held = set(connection.execute(query.with_for_update(skip_locked=True)).scalars())
    return [run_id for family in families if held.issuperset(family) for run_id in family]
