"""Units of work: what every end of a run brings with it, however it came about.

A finish, a cancellation, a deadline, a lost process: all of them end here, so that events, deliveries, turns, places,
parents and children are handled once, in the transaction of the status change (DESIGN.md, rule 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from callboard.ids import derive_id
from callboard.messaging import topology
from callboard.messaging.reply import ReplyTo
from callboard.state.announcements import clarification_event, run_events
from callboard.state.codec import encode
from callboard.state.deliveries import DeliveryDraft
from callboard.state.finishing import Consequences
from callboard.state.models import Json, clarifications, progress, run_io, runs
from callboard.state.readiness import at_once
from callboard.state.runs import RunError, RunStatus, WaitingKind, check_transition
from callboard.state.sql import order
from callboard.state.sql.deliveries import plan_deliveries
from callboard.state.sql.direct import Row, change, fetch
from callboard.state.sql.events import record_once
from callboard.state.sql.question_messages import close_messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run that ends now; `row` is as it was before, `lines` (kind, data) are the last of its progress."""

    row: Row
    status: RunStatus
    output: Any = None
    error: RunError | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    lines: tuple[tuple[str, dict[str, Any]], ...] = ()


def end(connection: Connection, ended: Sequence[Ended], now: datetime) -> Consequences:
    """Writes the terminal status of each run and everything that follows from it."""
    if not ended:
        return Consequences()
    for item in ended:
        check_transition(RunStatus(item.row["status"]), item.status)
    change(connection, END_RUN, [_end_parameters(item, now) for item in ended])
    change(
        connection,
        END_IO,
        [
            {
                "b_run_id": item.row["run_id"],
                "b_output": None if item.output is None else encode(item.output),
                "b_error": None if item.error is None else {"code": item.error.code, "message": item.error.message},
            }
            for item in ended
        ],
    )
    rows = [item.row for item in ended]
    told = [(item.row["run_id"], kind, data) for item in ended for kind, data in (*item.lines, _ended_line(item))]
    note(connection, told, now)
    announced = [told for item in ended for told in run_events(item.row, item.status, now, item.output, item.error)]
    wakes = order.leave(connection, rows)
    wakes |= owe_messages(
        connection, [(item.row, "result" if item.error is None else "failure", None) for item in ended], now
    )
    consequences = Consequences(events=record_once(connection, announced), wakes=frozenset(wakes))
    consequences = consequences.plus(_close_questions(connection, rows, now))
    consequences = consequences.plus(_wake_parents(connection, rows, now))
    return consequences.plus(_cancel_children(connection, ended, now))


def cancel(connection: Connection, run_ids: Sequence[str], now: datetime, error: RunError) -> Consequences:
    """Ends runs that hold no process at once; asks the owner of a running one, which can then only end as cancelled."""
    order.lock_keys_of(connection, run_ids)
    found = connection.execute(
        select(runs)
        .where(runs.c.run_id.in_(run_ids), runs.c.status.in_(order.ACTIVE))
        .order_by(runs.c.seq)
        .with_for_update()
    )
    rows = found.mappings().all()
    running = [row for row in rows if row["status"] == RunStatus.RUNNING]
    if running:
        connection.execute(
            update(runs).where(runs.c.seq.in_([row["seq"] for row in running])).values(cancel_requested_at=now)
        )
    still = [
        Ended(row=row, status=RunStatus.CANCELLED, error=error) for row in rows if row["status"] != RunStatus.RUNNING
    ]
    told = Consequences(wakes=frozenset(topology.run_cancel(row["owner"]) for row in running if row["owner"]))
    told = told.plus(end(connection, still, now))
    below = [child for row in running for child in _children(connection, row["run_id"])]
    return told.plus(cancel(connection, below, now, error)) if below else told


def owe_messages(connection: Connection, wanted: Sequence[tuple[Row, str, str | None]], now: datetime) -> set[str]:
    """Plans what (run, kind, clarification id) has to say to whoever asked for the run; returns the topics to wake."""
    drafts = []
    for run, kind, clarification_id in wanted:
        target = run["reply_to"] or (_root_target(connection, run) if clarification_id else None)
        if target is None:
            continue
        drafts.append(
            DeliveryDraft(
                id=derive_id("delivery", run["run_id"], kind, clarification_id or ""),
                kind=kind,
                target=ReplyTo.from_record(target),
                trace_id=run["trace_id"],
                run_id=run["run_id"],
                clarification_id=clarification_id,
                tenant=run["tenant"],
            )
        )
    return {topology.DELIVERY_PLANNED} if plan_deliveries(connection, drafts, now) else set()


def note(connection: Connection, lines: Sequence[tuple[str, str, dict[str, Any]]], now: datetime) -> None:
    """Appends to the progress of runs that this transaction holds: (run id, kind, data)."""
    if not lines:
        return
    noted = fetch(connection, NOTED, {"ids": list({run_id for run_id, _, _ in lines})})
    last = {row["run_id"]: row["last"] for row in noted}
    rows = []
    for run_id, kind, data in lines:
        last[run_id] = last.get(run_id, 0) + 1
        rows.append({"run_id": run_id, "n": last[run_id], "kind": kind, "data": data, "created_at": now})
    change(connection, NOTE, rows)


def _ended_line(item: Ended) -> tuple[str, dict[str, Any]]:
    return "status", {"status": item.status.value}


def _end_parameters(item: Ended, now: datetime) -> dict[str, Any]:
    return {
        "b_seq": item.row["seq"],
        "b_status": item.status.value,
        "b_finished_at": now,
        "b_cost": item.row["cost_usd"] + item.cost_usd,
        "b_input": item.row["input_tokens"] + item.input_tokens,
        "b_output": item.row["output_tokens"] + item.output_tokens,
    }


def _root_target(connection: Connection, run: Row) -> Any:
    """A step has no address of its own: its questions go to whoever asked for the whole."""
    if run["root_run_id"] is None:
        return None
    return connection.execute(select(runs.c.reply_to).where(runs.c.run_id == run["root_run_id"])).scalar()


def _close_questions(connection: Connection, rows: Sequence[Row], now: datetime) -> Consequences:
    waited = [row["run_id"] for row in rows if row["status"] == RunStatus.WAITING]
    if not waited:
        return Consequences()
    closed = (
        connection.execute(
            update(clarifications)
            .where(clarifications.c.run_id.in_(waited), clarifications.c.status == "asked")
            .values(status="cancelled", answered_at=now)
            .returning(clarifications)
        )
        .mappings()
        .all()
    )
    wakes = close_messages(connection, [row["id"] for row in closed], now)
    events = record_once(connection, [clarification_event(row, "cancelled", now) for row in closed])
    return Consequences(events=events, wakes=frozenset(wakes))


def _wake_parents(connection: Connection, rows: Sequence[Row], now: datetime) -> Consequences:
    parents = {row["parent_run_id"] for row in rows if row["parent_run_id"] is not None}
    if not parents:
        return Consequences()
    # Held whatever their status: one that is just about to wait looks at its steps only after this has committed.
    held = connection.execute(
        select(runs).where(runs.c.run_id.in_(parents)).order_by(runs.c.seq).with_for_update()
    ).mappings()
    waiting = [row for row in held if row["status"] == RunStatus.WAITING and row["waiting_kind"] == WaitingKind.STEPS]
    return Consequences(wakes=frozenset(resume(connection, waiting, now)))


def resume(connection: Connection, rows: Sequence[Row], now: datetime) -> set[str]:
    """Makes waiting runs claimable: what they waited for has come."""
    if not rows:
        return set()
    connection.execute(
        update(runs)
        .where(runs.c.seq.in_([row["seq"] for row in rows]), runs.c.status == RunStatus.WAITING)
        .values(
            status=RunStatus.QUEUED.value,
            available_at=at_once(now),
            waiting_kind=None,
            waiting_id=None,
            waiting_since=None,
        )
    )
    return order.requeue(connection, rows)


def _cancel_children(connection: Connection, ended: Sequence[Ended], now: datetime) -> Consequences:
    told = Consequences()
    for item in ended:
        if item.status is RunStatus.SUCCEEDED:
            continue
        children = _children(connection, item.row["run_id"])
        if children:
            reason = RunError(code="cancelled", message=f"run {item.row['run_id']} ended as {item.status}")
            told = told.plus(cancel(connection, children, now, reason))
    return told


def _children(connection: Connection, run_id: str) -> list[str]:
    rows = connection.execute(
        select(runs.c.run_id).where(runs.c.parent_run_id == run_id, runs.c.status.in_(order.ACTIVE))
    )
    return list(rows.scalars())


END_RUN = (
    update(runs)
    .where(runs.c.seq == bindparam("b_seq"))
    .values(
        status=bindparam("b_status"),
        ready=False,
        has_turn=False,
        has_place=False,
        owner=None,
        claim_token=None,
        waiting_kind=None,
        waiting_id=None,
        waiting_since=None,
        finished_at=bindparam("b_finished_at"),
        cost_usd=bindparam("b_cost"),
        input_tokens=bindparam("b_input"),
        output_tokens=bindparam("b_output"),
    )
)
END_IO = (
    update(run_io)
    .where(run_io.c.run_id == bindparam("b_run_id"))
    .values(output=bindparam("b_output"), error=bindparam("b_error", type_=Json))
)
NOTED = (
    select(progress.c.run_id, func.max(progress.c.n).label("last"))
    .where(progress.c.run_id.in_(bindparam("ids", expanding=True)))
    .group_by(progress.c.run_id)
)
NOTE = insert(progress)
