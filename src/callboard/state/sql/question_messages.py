"""Units of work: the messages in which a question is shown, which say so once it is closed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from callboard.ids import derive_id
from callboard.messaging import topology
from callboard.messaging.reply import ReplyTo
from callboard.state.deliveries import AttemptOutcome, Delivery, DeliveryDraft, DeliveryStatus, closing_id
from callboard.state.models import clarifications, deliveries, runs
from callboard.state.sql.deliveries import finish_delivery, plan_deliveries

SHOWING = ("question", "reminder")
"""Deliveries whose messages show a question."""


def close_messages(
    connection: Connection, clarification_ids: Sequence[str], now: datetime, known: Sequence[DeliveryDraft] = ()
) -> set[str]:
    """Questions that are closed: all messages that show them are to lose their buttons and say so.

    `known` are edits that somebody who was there has planned better; returns the topics to wake.
    """
    if not clarification_ids:
        return set()
    sent = connection.execute(
        select(deliveries)
        .where(
            deliveries.c.clarification_id.in_(clarification_ids),
            deliveries.c.kind.in_(SHOWING),
            deliveries.c.status == DeliveryStatus.SENT.value,
        )
        .order_by(deliveries.c.seq)
    ).mappings()
    # Of two edits of one message, which have one id, the last is planned.
    edits = [edit for row in sent if (edit := _edit(row)) is not None]
    return _plan(connection, [*edits, *known], now)


def finish(connection: Connection, delivery: Delivery, outcome: AttemptOutcome, now: datetime) -> bool:
    """Writes what an attempt came to. A question that was closed while it was on its way is closed there too."""
    if not finish_delivery(connection, delivery, outcome, now):
        return False
    if delivery.kind in SHOWING and outcome.status is DeliveryStatus.SENT and delivery.clarification_id is not None:
        # Held: whoever closes it either finds this message sent, or has closed it before this looks.
        status = connection.execute(
            select(clarifications.c.status).where(clarifications.c.id == delivery.clarification_id).with_for_update()
        ).scalar()
        if status not in (None, "asked"):
            row = connection.execute(select(deliveries).where(deliveries.c.seq == delivery.seq)).mappings().one()
            edit = _edit(row)
            _plan(connection, [] if edit is None else [edit], now)
    return True


def ask_again(connection: Connection, question: RowMapping, channel: str, now: datetime) -> set[str]:
    """The question, asked once more in another place."""
    shown = _latest(connection, question["id"])
    team = (shown["target"] if shown else _reply_to(connection, question) or {}).get("team")
    draft = DeliveryDraft(
        id=derive_id("delivery", question["run_id"], "escalation", question["id"]),
        kind="question",
        target=ReplyTo(channel=channel, mode="channel", team=team),
        trace_id=question["trace_id"],
        run_id=question["run_id"],
        clarification_id=question["id"],
        tenant=question["tenant"],
    )
    return _plan(connection, [draft], now)


def remind(connection: Connection, question: RowMapping, number: int, now: datetime) -> set[str]:
    """Says once more that the question is open, under the message that showed it last."""
    shown = _latest(connection, question["id"])
    if shown is None:
        return set()
    target = ReplyTo.from_record(shown["target"])
    draft = DeliveryDraft(
        id=derive_id("reminder", question["id"], number),
        kind="reminder",
        target=replace(target, response_url=None, expires_at=None, thread_ts=target.thread_ts or shown["sent_ts"]),
        trace_id=question["trace_id"],
        run_id=question["run_id"],
        clarification_id=question["id"],
        body={"number": number},
        tenant=question["tenant"],
    )
    return _plan(connection, [draft], now)


def _latest(connection: Connection, clarification_id: str) -> RowMapping | None:
    """The delivery that brought the question to where it was asked last."""
    query = select(deliveries).where(
        deliveries.c.clarification_id == clarification_id,
        deliveries.c.kind == "question",
        deliveries.c.status == DeliveryStatus.SENT.value,
    )
    return connection.execute(query.order_by(deliveries.c.seq.desc()).limit(1)).mappings().first()


def _reply_to(connection: Connection, question: RowMapping) -> Any:
    return connection.execute(select(runs.c.reply_to).where(runs.c.run_id == question["root_run_id"])).scalar()


def _edit(row: RowMapping) -> DeliveryDraft | None:
    """The edit that closes a message; None for one that nobody but its reader can reach."""
    target = ReplyTo.from_record(row["target"])
    if target.channel is None or target.mode == "ephemeral":
        return None
    body = {"message_ts": row["sent_ts"]}
    if row["sent_ts"] is None:
        # It came by a response URL, which does not say what became of it: it is found by its mark.
        body = {"shown_by": row["id"], "since": row["created_at"].isoformat()}
    return DeliveryDraft(
        id=closing_id(row["clarification_id"], row["sent_ts"] or row["id"]),
        kind="answered",
        target=ReplyTo(
            channel=target.channel, user=target.user, mode="channel", team=target.team, thread_ts=target.thread_ts
        ),
        trace_id=row["trace_id"],
        run_id=row["run_id"],
        clarification_id=row["clarification_id"],
        body=body,
        tenant=row["tenant"],
    )


def _plan(connection: Connection, drafts: Collection[DeliveryDraft], now: datetime) -> set[str]:
    return {topology.DELIVERY_PLANNED} if plan_deliveries(connection, list(drafts), now) else set()
