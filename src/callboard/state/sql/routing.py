"""Units of work: events become runs, in the order in which they were accepted (DESIGN.md, R9 and R10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql

from callboard.ids import derive_id
from callboard.messaging.topology import DELIVERY_PLANNED
from callboard.state.codec import encode
from callboard.state.deliveries import DeliveryDraft
from callboard.state.finishing import Consequences, StoredEvent
from callboard.state.models import catalog_heads, events, locks, run_io, runs
from callboard.state.routing import Notice, Routed, Routing
from callboard.state.runs import RunDraft, RunError, RunStatus
from callboard.state.sql import order
from callboard.state.sql.deliveries import plan_deliveries
from callboard.state.sql.direct import change, column, fetch
from callboard.state.sql.ending import Ended, cancel, end
from callboard.state.sql.finishing import insert_runs
from callboard.state.sql.rows import run_row, stored_event

BUSY = RunError(code="busy", message="the agent is at work on this conversation and takes no second message meanwhile")
INTERRUPTED = RunError(code="interrupted", message="a newer message of the same conversation took its place")

ONE_ROUTER = select(locks.c.name).where(locks.c.name == "router").with_for_update()
UNROUTED = select(events).where(events.c.routed_at.is_(None)).order_by(events.c.seq).limit(bindparam("limit"))
MARK_ROUTED = (
    update(events)
    .where(events.c.seq == bindparam("b_seq"))
    .values(routed_at=bindparam("b_at", type_=events.c.routed_at.type), matched=bindparam("b_matched"))
)
NEWEST_CATALOG = select(catalog_heads.c.number).where(
    catalog_heads.c.tenant == "default", catalog_heads.c.kind == "agent"
)
KNOWN_RUNS = select(runs.c.run_id).where(runs.c.run_id.in_(bindparam("ids", expanding=True)))


def route(
    connection: Connection,
    limit: int,
    decide: Callable[[StoredEvent], Routing],
    now: datetime,
    catalog: int | None = None,
) -> Routed:
    """Takes up to `limit` unrouted events in order of acceptance and writes what `decide` makes of each.

    One transaction at a time does this, over all orchestrators: with two of them, the runs of one conversation were
    seen to change places.

    `catalog` is the number of the one that `decide` goes by: with a newer one in force nothing is done, for who accepts
    an event after a change must meet the change. The events are read first, so none of them is newer than the answer.
    """
    _be_the_only_router(connection)
    unrouted = [stored_event(row) for row in fetch(connection, UNROUTED, {"limit": limit})]
    if not unrouted:
        return Routed(events=0, runs=0, unmatched=0)
    if catalog is not None and max(column(connection, NEWEST_CATALOG, {}), default=0) > catalog:
        return Routed(events=0, runs=0, unmatched=0, behind=True)
    decisions = [(item, decide(item)) for item in unrouted]
    drafts = _fresh(connection, [draft for _, decision in decisions for draft in decision.runs])
    told = _insert(connection, drafts, now)
    notices = [(item, notice) for item, decision in decisions for notice in decision.notices]
    told = told.plus(_notices(connection, notices, now))
    change(
        connection,
        MARK_ROUTED,
        [{"b_seq": item.seq, "b_at": now, "b_matched": len(decision.runs)} for item, decision in decisions],
    )
    unmatched = sum(1 for _, decision in decisions if decision.expected and not decision.runs)
    return Routed(events=len(unrouted), runs=len(drafts), unmatched=unmatched, consequences=told)


def _be_the_only_router(connection: Connection) -> None:
    """Until the commit; SQLite has a single writer anyway."""
    if connection.dialect.name == "sqlite":
        return
    if not column(connection, ONE_ROUTER, {}):
        connection.execute(postgresql.insert(locks).values(name="router").on_conflict_do_nothing())
        column(connection, ONE_ROUTER, {})


def _fresh(connection: Connection, drafts: Sequence[RunDraft]) -> list[RunDraft]:
    """Leaves out runs that exist: the same event and agent always give the same run."""
    if not drafts:
        return []
    known = set(column(connection, KNOWN_RUNS, {"ids": [draft.run_id for draft in drafts]}))
    return list({draft.run_id: draft for draft in drafts if draft.run_id not in known}.values())


def _insert(connection: Connection, drafts: Sequence[RunDraft], now: datetime) -> Consequences:
    """Plain runs go in together; those that mind a busy conversation one by one, since each changes who is busy."""
    admissions = [(draft.tenant, draft.admission) for draft in drafts]
    keys = [(tenant, key) for tenant, by in admissions for key in (by.order_key, by.place_key) if key is not None]
    order.lock_keys(connection, keys)
    plain: list[tuple[dict[str, Any], Any]] = []
    told = Consequences()
    for draft in drafts:
        key = (draft.tenant, draft.admission.order_key)
        if draft.on_busy == "queue" or key[1] is None:
            plain.append((run_row(draft, now), draft.input))
            continue
        told = told.plus(Consequences(wakes=frozenset(insert_runs(connection, plain))))
        plain = []
        told = told.plus(_insert_minding(connection, draft, (draft.tenant, key[1]), now))
    return told.plus(Consequences(wakes=frozenset(insert_runs(connection, plain))))


def _insert_minding(connection: Connection, draft: RunDraft, key: order.Key, now: datetime) -> Consequences:
    told = Consequences()
    if order.busy_keys(connection, [key]):
        if draft.on_busy == "reject":
            return _insert_rejected(connection, draft, now)
        busy = connection.execute(
            select(runs.c.run_id).where(
                runs.c.tenant == key[0], runs.c.order_key == key[1], runs.c.status.in_(order.ACTIVE)
            )
        ).scalars()
        told = cancel(connection, list(busy), now, INTERRUPTED)
    return told.plus(Consequences(wakes=frozenset(insert_runs(connection, [(run_row(draft, now), draft.input)]))))


def _insert_rejected(connection: Connection, draft: RunDraft, now: datetime) -> Consequences:
    """The run is written all the same, as ended: whoever asks for it must find it."""
    plain = replace(draft, admission=replace(draft.admission, order_key=None, place_key=None, places=None))
    row = run_row(plain, now) | {"ready": False}
    connection.execute(insert(runs), [row])
    connection.execute(insert(run_io), [{"run_id": draft.run_id, "input": encode(draft.input)}])
    stored = connection.execute(select(runs).where(runs.c.run_id == draft.run_id)).mappings().one()
    return end(connection, [Ended(row=stored, status=RunStatus.FAILED, error=BUSY)], now)


def _notices(connection: Connection, notices: Sequence[tuple[StoredEvent, Notice]], now: datetime) -> Consequences:
    """Answers to events that gave no run."""
    drafts = [
        DeliveryDraft(
            id=derive_id("notice", item.event.event_id),
            kind="notice",
            target=notice.target,
            trace_id=item.event.trace_id,
            event_id=item.event.event_id,
            body={
                "text": notice.text,
                "title": notice.title,
                "items": [{"name": name, "description": description} for name, description in notice.items],
            },
            tenant=item.event.tenant,
        )
        for item, notice in notices
    ]
    planned = plan_deliveries(connection, drafts, now)
    return Consequences(wakes=frozenset({DELIVERY_PLANNED} if planned else ()))
