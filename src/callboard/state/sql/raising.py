"""Units of work: what becomes of questions about money, and of the runs that wait for an answer (DESIGN.md, R20)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from callboard.state.announcements import clarification_event
from callboard.state.budgets import RAISE, RAISE_USD, Account, Scope, day_of
from callboard.state.database import one_statement
from callboard.state.finishing import Consequences
from callboard.state.models import clarifications, runs, spending
from callboard.state.runs import RunStatus
from callboard.state.sql import order
from callboard.state.sql.budgets import raise_account
from callboard.state.sql.direct import Row
from callboard.state.sql.ending import resume
from callboard.state.sql.events import record_once
from callboard.state.sql.question_messages import close_messages

GOES_ON = "the limit was raised meanwhile, or its day is over"


def raise_limit(connection: Connection, question: Row, answer: Any) -> None:
    """What the answer to a question about money brings; the transaction holds the question, which is answered once.

    Anything but `RAISE`, and any other question, changes nothing.
    """
    if question["purpose"] != "budget" or answer != RAISE:
        return
    account = account_of(question["details"] or {}, question["asked_at"])
    if account is not None:
        raise_account(connection, question["tenant"], account)


def account_of(details: Mapping[str, Any], asked_at: datetime) -> Account | None:
    """Whose limit a question is about."""
    try:
        scope = Scope(details["scope"])
    except (KeyError, ValueError):
        return None
    day = "" if scope is Scope.RUN else str(details.get("day") or day_of(asked_at))
    return Account(scope=scope, name=str(details.get("name", "")), day=day)


def go_on(connection: Connection, now: datetime) -> tuple[int, Consequences]:
    """Answers the questions about money that need no answer any more, since somebody has raised that limit meanwhile
    or its day is over; their runs ask for their money again. How many, and what is to be told."""
    asked = open_questions(connection)
    ids = [row["id"] for row in asked if _has_room(connection, row, now)]
    if not ids:
        return 0, Consequences()
    _hold(connection, [row["run_id"] for row in asked if row["id"] in ids])
    closed = (
        connection.execute(
            update(clarifications)
            .where(clarifications.c.id.in_(ids), clarifications.c.status == "asked")
            .values(
                status="answered",
                answer=RAISE,
                answered_by="callboard",
                comment=GOES_ON,
                answered_at=now,
            )
            .returning(clarifications)
        )
        .mappings()
        .all()
    )
    wakes = close_messages(connection, [row["id"] for row in closed], now)
    events = record_once(connection, [clarification_event(row, "answered", now) for row in closed])
    waiting = connection.execute(
        select(runs).where(runs.c.run_id.in_([row["run_id"] for row in closed]), runs.c.status == RunStatus.WAITING)
    )
    wakes |= resume(connection, waiting.mappings().all(), now)
    return len(closed), Consequences(events=events, wakes=frozenset(wakes))


@one_statement
def open_questions(connection: Connection) -> Sequence[Row]:
    """Those about money."""
    found = connection.execute(
        select(clarifications).where(clarifications.c.status == "asked", clarifications.c.purpose == "budget")
    )
    return found.mappings().all()


def _has_room(connection: Connection, question: Row, now: datetime) -> bool:
    """Whether the limit was raised more often than when the question was asked, or was for a day that is over."""
    details: dict[str, Any] = question["details"] or {}
    account = account_of(details, question["asked_at"])
    if account is None:
        return False
    if account.day and account.day < day_of(now):
        return True
    raised = connection.execute(
        select(spending.c.raised_usd).where(
            spending.c.tenant == question["tenant"],
            spending.c.scope == account.scope.value,
            spending.c.name == account.name,
            spending.c.day == account.day,
        )
    ).scalar()
    raises = details.get("raises")
    return isinstance(raises, int) and round((raised or 0.0) / RAISE_USD) > raises


def _hold(connection: Connection, run_ids: Sequence[str]) -> None:
    order.lock_keys_of(connection, run_ids)
    connection.execute(
        select(runs.c.seq).where(runs.c.run_id.in_(run_ids)).order_by(runs.c.seq).with_for_update()
    ).close()
