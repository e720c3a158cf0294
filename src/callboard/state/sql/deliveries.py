"""Units of work: planning, claiming and ending deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    update,
)

from callboard.messaging.reply import ReplyTo
from callboard.state.deliveries import AttemptOutcome, Delivery, DeliveryDraft, DeliveryStatus
from callboard.state.models import UtcDateTime, deliveries, processes
from callboard.state.readiness import at_once
from callboard.state.sql.direct import Row, change, column, fetch

# Literal, as in the partial indexes: with parameters the planner cannot use those, and reads every message ever sent.
OPEN: tuple[ColumnElement[str], ...] = (literal_column("'planned'"), literal_column("'attempting'"))


def delivery_row(draft: DeliveryDraft, now: datetime) -> dict[str, Any]:
    """The row of a delivery that is planned and due."""
    return {
        "id": draft.id,
        "tenant": draft.tenant,
        "run_id": draft.run_id,
        "event_id": draft.event_id,
        "clarification_id": draft.clarification_id,
        "kind": draft.kind,
        "target": draft.target.to_record(),
        "thread_key": draft.target.order_key,
        "pace_key": draft.target.pace_key,
        "body": draft.body,
        "status": DeliveryStatus.PLANNED.value,
        "attempts": 0,
        "next_try": at_once(now),
        "client_msg_id": draft.id,
        "trace_id": draft.trace_id,
        "created_at": now,
        "updated_at": now,
    }


def plan_deliveries(connection: Connection, drafts: Sequence[DeliveryDraft], now: datetime) -> int:
    """Plans those whose id is not there yet; returns how many."""
    unique = {draft.id: draft for draft in drafts}
    if not unique:
        return 0
    known = set(column(connection, KNOWN, {"ids": list(unique)}))
    rows = [delivery_row(draft, now) for draft in unique.values() if draft.id not in known]
    change(connection, INSERT, rows)
    return len(rows)


def claim_deliveries(
    connection: Connection,
    owner: str,
    limit: int,
    now: datetime,
    pace: timedelta,
    *,
    unanswered: Sequence[datetime] = (),
) -> list[Delivery]:
    """Up to `limit` due deliveries for `owner`, each the first open one of its thread, at most one a pace key.

    A pace key is closed while one of its deliveries is under way and until the `pace_until` of every other.
    `unanswered` are the times of claims whose outcome their owner never heard: what they took is let go of first.
    """
    _be_the_only_responder(connection)
    _let_go_of_unanswered(connection, owner, unanswered)
    change(connection, TAKE_FROM_THE_DEAD, [{"b_now": now}])
    _place(connection)
    rows = fetch(connection, CLAIMABLE, {"now": now, "limit": limit})
    if not rows:
        return []
    later = now + pace
    change(
        connection,
        TAKE,
        [
            {"b_seq": row["seq"], "b_owner": owner, "b_pace_until": now if _by_url(row) else later, "b_now": now}
            for row in rows
        ],
    )
    uses = _url_uses(connection, [row["thread_key"] for row in rows if row["target"].get("response_url")])
    return [
        _delivery(
            row,
            attempt=row["attempts"] + 1,
            interrupted=row["status"] == DeliveryStatus.ATTEMPTING.value,
            url_uses=max(0, uses.get(row["thread_key"], 0) - 1),
        )
        for row in rows
    ]


def finish_delivery(connection: Connection, delivery: Delivery, outcome: AttemptOutcome, now: datetime) -> bool:
    """Writes what the attempt came to; False, and nothing is written, where the delivery was taken from its owner."""
    values: dict[str, Any] = {
        "status": outcome.status.value,
        "owner": None,
        "next_try": outcome.next_try or now,
        "error": outcome.error,
        "updated_at": now,
    }
    if outcome.sent_ts is not None:
        values["sent_ts"] = outcome.sent_ts
    if outcome.hold_until is not None:
        values["pace_until"] = outcome.hold_until
    if outcome.target is not None:
        values["target"] = outcome.target.to_record()
        values["pace_key"] = outcome.target.pace_key
    row = {f"b_{name}": value for name, value in values.items()}
    row |= {"b_seq": delivery.seq, "b_attempts": delivery.attempt}
    if change(connection, _finish(tuple(values)), [row]) == 0:
        return False
    plan_deliveries(connection, outcome.follow_up, now)
    return True


def keep_body(connection: Connection, delivery: Delivery, body: dict[str, Any], now: datetime) -> bool:
    """Replaces the body in the middle of an attempt; False where the delivery was taken from its owner."""
    row = {"b_body": body, "b_updated_at": now, "b_seq": delivery.seq, "b_attempts": delivery.attempt}
    return change(connection, _finish(("body", "updated_at")), [row]) == 1


def release_deliveries(connection: Connection, owner: str, now: datetime) -> int:
    """Lets others go on with what `owner` has under way, after looking whether it arrived; returns how many."""
    return connection.execute(
        update(deliveries)
        .where(deliveries.c.status == DeliveryStatus.ATTEMPTING.value, deliveries.c.owner == owner)
        .values(owner=None, next_try=at_once(now), updated_at=now)
    ).rowcount


def load_deliveries(
    connection: Connection, *, run_id: str | None = None, trace_id: str | None = None
) -> list[Delivery]:
    """In the order they were planned."""
    query = select(deliveries).order_by(deliveries.c.seq)
    if run_id is not None:
        query = query.where(deliveries.c.run_id == run_id)
    if trace_id is not None:
        query = query.where(deliveries.c.trace_id == trace_id)
    return [_delivery(row, attempt=row["attempts"]) for row in connection.execute(query).mappings()]


def count_deliveries(connection: Connection) -> dict[str, int]:
    """How many there are of each status."""
    rows = connection.execute(select(deliveries.c.status, func.count()).group_by(deliveries.c.status))
    return {row[0]: row[1] for row in rows}


@cache
def _finish(names: tuple[str, ...]) -> Update:
    """The change of exactly these columns, while the attempt is still its owner's."""
    return (
        update(deliveries)
        .where(
            deliveries.c.seq == bindparam("b_seq"),
            deliveries.c.status == DeliveryStatus.ATTEMPTING.value,
            deliveries.c.attempts == bindparam("b_attempts"),
            deliveries.c.owner.is_not(None),
        )
        .values({name: bindparam(f"b_{name}", type_=deliveries.c[name].type) for name in names})
    )


def _be_the_only_responder(connection: Connection) -> None:
    """Until the commit: two that choose at once would each give a channel its one message a second."""
    if connection.dialect.name != "sqlite":
        connection.execute(ONE_RESPONDER)


def _place(connection: Connection) -> None:
    """Rows that were planned together with a run's end get their pace key here, off that hot path."""
    rows = fetch(connection, UNPLACED, {})
    placed = [{"b_seq": row["seq"], "b_pace_key": ReplyTo.from_record(row["target"]).pace_key} for row in rows]
    change(connection, PLACE, placed)


def _claimable() -> Any:
    now = bindparam("now", type_=UtcDateTime)
    earlier, busy = deliveries.alias("earlier"), deliveries.alias("busy")
    waits_for_earlier = (
        select(1)
        .where(
            earlier.c.thread_key == deliveries.c.thread_key,
            earlier.c.seq < deliveries.c.seq,
            earlier.c.status.in_(OPEN),
        )
        .exists()
    )
    under_way = and_(busy.c.status == DeliveryStatus.ATTEMPTING.value, busy.c.owner.is_not(None))
    closed = select(1).where(busy.c.pace_key == deliveries.c.pace_key, or_(busy.c.pace_until > now, under_way)).exists()
    ready = (
        select(
            deliveries.c.seq,
            func.row_number().over(partition_by=deliveries.c.pace_key, order_by=deliveries.c.seq).label("place"),
        )
        .where(_waiting(), deliveries.c.next_try <= now, ~waits_for_earlier, ~closed)
        .cte("ready")
    )
    first = select(ready.c.seq).where(ready.c.place == 1).order_by(ready.c.seq).limit(bindparam("limit"))
    return select(deliveries).where(deliveries.c.seq.in_(first)).order_by(deliveries.c.seq).with_for_update()


def _let_go_of_unanswered(connection: Connection, owner: str, claimed_at: Sequence[datetime]) -> None:
    """What `owner` took at these times, without ever hearing that it had."""
    if claimed_at:
        attempting = deliveries.c.status == DeliveryStatus.ATTEMPTING.value
        taken_then = (deliveries.c.owner == owner, deliveries.c.updated_at.in_(claimed_at))
        connection.execute(update(deliveries).where(attempting, *taken_then).values(owner=None))


def _waiting() -> ColumnElement[bool]:
    return and_(deliveries.c.status.in_(OPEN), deliveries.c.owner.is_(None))


def _by_url(row: Row) -> bool:
    return bool(row["pace_key"] == row["thread_key"])


def _url_uses(connection: Connection, keys: Sequence[str]) -> dict[str, int]:
    if not keys:
        return {}
    return {row["thread_key"]: int(row["uses"]) for row in fetch(connection, URL_USES, {"keys": list(keys)})}


def _delivery(row: Row, *, attempt: int, interrupted: bool = False, url_uses: int = 0) -> Delivery:
    return Delivery(
        seq=row["seq"],
        id=row["id"],
        tenant=row["tenant"],
        kind=row["kind"],
        target=ReplyTo.from_record(row["target"]),
        trace_id=row["trace_id"],
        run_id=row["run_id"],
        event_id=row["event_id"],
        clarification_id=row["clarification_id"],
        body=row["body"],
        status=DeliveryStatus(row["status"]),
        attempt=attempt,
        next_try=row["next_try"],
        created_at=row["created_at"],
        sent_ts=row["sent_ts"],
        error=row["error"],
        interrupted=interrupted,
        url_uses=url_uses,
    )


# Built once: making these expressions anew costs many times what running them costs.
KNOWN = select(deliveries.c.id).where(deliveries.c.id.in_(bindparam("ids", expanding=True)))
INSERT = insert(deliveries)
URL_USES = (
    select(deliveries.c.thread_key, func.sum(deliveries.c.attempts).label("uses"))
    .where(deliveries.c.thread_key.in_(bindparam("keys", expanding=True)))
    .group_by(deliveries.c.thread_key)
)
ONE_RESPONDER = text("SELECT pg_advisory_xact_lock(7205759403792794)")
CLAIMABLE = _claimable()
UNPLACED = select(deliveries.c.seq, deliveries.c.target).where(deliveries.c.pace_key.is_(None))
PLACE = update(deliveries).where(deliveries.c.seq == bindparam("b_seq")).values(pace_key=bindparam("b_pace_key"))
TAKE_FROM_THE_DEAD = (
    update(deliveries)
    .where(
        deliveries.c.status == DeliveryStatus.ATTEMPTING.value,
        deliveries.c.owner.in_(select(processes.c.id).where(processes.c.dead.is_(True))),
    )
    .values(
        owner=None,
        next_try=bindparam("b_now", type_=UtcDateTime),
        updated_at=bindparam("b_now", type_=UtcDateTime),
    )
)
TAKE = (
    update(deliveries)
    .where(deliveries.c.seq == bindparam("b_seq"))
    .values(
        status=DeliveryStatus.ATTEMPTING.value,
        owner=bindparam("b_owner"),
        attempts=deliveries.c.attempts + 1,
        pace_until=bindparam("b_pace_until"),
        updated_at=bindparam("b_now"),
    )
)
