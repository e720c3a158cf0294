"""Units of work: runs that wait for a provider or for others' reservations (DESIGN.md, rule 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, text, update

from callboard.ids import derive_id, fraction
from callboard.messaging.reply import ReplyTo
from callboard.state import pausing
from callboard.state.database import one_statement
from callboard.state.deliveries import DeliveryDraft
from callboard.state.finishing import Consequences, ProgressDraft, Settlement
from callboard.state.models import UtcDateTime, progress, provider_states, runs
from callboard.state.runs import RunError, RunStatus, WaitingKind
from callboard.state.sql import order
from callboard.state.sql.deliveries import plan_deliveries
from callboard.state.sql.direct import Row
from callboard.state.sql.ending import resume

# The literals are those of the partial index. A question about a budget waits for a person, and names its record.
PAUSING = text("status = 'waiting' AND waiting_kind IN ('budget', 'provider')")
_NO_QUESTION = runs.c.waiting_id.is_(None)


def decided(connection: Connection, row: Row, item: Settlement) -> Settlement:
    """A settlement that pauses, with the times it really has, or the failure that it comes to after so long."""
    assert item.waiting_kind is not None and item.available_at is not None  # noqa: S101, PT018  # that is a pause
    kind, reason = item.waiting_kind, "" if item.error is None else item.error.message
    wanted = item.available_at
    if kind is WaitingKind.PROVIDER and _healed(connection, item.now):
        wanted = min(wanted, item.now + pausing.HEALED * fraction(derive_id(item.run_id)))
    found = pausing.pause(item.now, wanted, _series_begun(connection, item.run_id), item.patience)
    if found.until is None:
        code = "provider_unavailable" if kind is WaitingKind.PROVIDER else "budget_busy"
        error = RunError(code=code, message=pausing.given_up(kind, reason, item.patience))
        return replace(item, status=RunStatus.FAILED, error=error, waiting_kind=None, available_at=None, failure=True)
    line = ProgressDraft(kind="paused", data={"for": kind.value, "reason": reason, "until": found.until.isoformat()})
    if found.tell:
        _tell(connection, row, kind, reason, found.since + item.patience, item.now)
    return replace(item, available_at=found.until, waiting_since=found.since, progress=(*item.progress, line))


@one_statement
def anything_due(connection: Connection, now: datetime) -> bool:
    """Whether a pause is over: asked again and again, and costs no transaction that writes."""
    due = select(runs.c.seq).where(PAUSING, _NO_QUESTION, runs.c.available_at <= now).limit(1)
    return connection.execute(due).first() is not None


def resume_due(connection: Connection, now: datetime, limit: int) -> tuple[int, Consequences]:
    """Queues again the runs whose pause is over, the longest over first; how many, and whom to wake."""
    due = select(runs.c.run_id).where(PAUSING, _NO_QUESTION, runs.c.available_at <= now)
    ids = list(connection.execute(due.order_by(runs.c.available_at).limit(limit)).scalars())
    if not ids:
        return 0, Consequences()
    order.lock_keys_of(connection, ids)
    held = connection.execute(
        select(runs)
        .where(runs.c.run_id.in_(ids), PAUSING, _NO_QUESTION, runs.c.available_at <= now)
        .order_by(runs.c.seq)
        .with_for_update()
    )
    rows = held.mappings().all()
    return len(rows), Consequences(wakes=frozenset(resume(connection, rows, now)))


def release(connection: Connection, now: datetime) -> int:
    """A provider is back: the runs that wait for one come back sooner, spread over time; how many.

    Which of several providers each waits for is not looked at: one whose provider is still away finds that out without
    asking it, and waits on.
    """
    waiting: Sequence[Mapping[Any, Any]] = (
        connection.execute(
            select(runs.c.seq, runs.c.rank, runs.c.available_at, runs.c.waiting_since)
            .where(PAUSING, _NO_QUESTION, runs.c.waiting_kind == WaitingKind.PROVIDER)
            .order_by(runs.c.seq)
            .with_for_update(skip_locked=True)
        )
        .mappings()
        .all()
    )
    if not waiting:
        return 0
    waiting = sorted(waiting, key=lambda row: (row["rank"], row["seq"]))
    oldest = min(row["waiting_since"] or now for row in waiting)
    moments = pausing.spread(len(waiting), oldest, now)
    sooner = [
        {"b_seq": row["seq"], "b_at": moment}
        for row, moment in zip(waiting, moments, strict=True)
        if moment < row["available_at"]
    ]
    if sooner:
        connection.execute(COME_BACK, sooner)
    return len(sooner)


def _healed(connection: Connection, now: datetime) -> bool:
    """Whether a breaker was closed a moment ago: the runs that waited then were released, this one was on its way."""
    found = connection.execute(
        select(provider_states.c.name)
        .where(
            provider_states.c.open_until.is_(None),
            provider_states.c.failures == 0,
            provider_states.c.updated_at > now - pausing.HEALED,
            provider_states.c.name.not_like("%#%"),
            provider_states.c.cooldown_until.is_(None),
        )
        .limit(1)
    )
    return found.first() is not None


def _series_begun(connection: Connection, run_id: str) -> datetime | None:
    answered = (
        select(func.coalesce(func.max(progress.c.n), -1))
        .where(progress.c.run_id == run_id, progress.c.kind == "model_call")
        .scalar_subquery()
    )
    first: datetime | None = connection.execute(
        select(progress.c.created_at)
        .where(progress.c.run_id == run_id, progress.c.kind == "paused", progress.c.n > answered)
        .order_by(progress.c.n)
        .limit(1)
    ).scalar()
    return first


def _tell(
    connection: Connection, row: Row, kind: WaitingKind, reason: str, give_up_at: datetime, now: datetime
) -> None:
    """Once for all that belongs to one request: a plan's steps wait together."""
    target = row["reply_to"] or _root_target(connection, row)
    if target is None:
        return
    draft = DeliveryDraft(
        id=derive_id("notice", row["root_run_id"] or row["run_id"], "paused"),
        kind="notice",
        target=ReplyTo.from_record(target),
        trace_id=row["trace_id"],
        run_id=row["run_id"],
        body={"text": f"{row['agent']}: {pausing.words(kind, reason, give_up_at)}"},
        tenant=row["tenant"],
    )
    plan_deliveries(connection, [draft], now)


def _root_target(connection: Connection, row: Row) -> Any:
    if row["root_run_id"] is None:
        return None
    return connection.execute(select(runs.c.reply_to).where(runs.c.run_id == row["root_run_id"])).scalar()


COME_BACK = (
    update(runs)
    .where(runs.c.seq == bindparam("b_seq"), PAUSING)
    .values(available_at=bindparam("b_at", type_=UtcDateTime))
)
