"""Units of work: the deadlines and reminders of questions, each done once however many sweepers there are."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, RowMapping, and_, literal_column, or_, select, update

from callboard.messaging.events import Actor
from callboard.state.announcements import clarification_event
from callboard.state.clarifications import DEFAULT, Answer, ClarificationStatus
from callboard.state.finishing import Consequences
from callboard.state.models import clarifications
from callboard.state.question_deadlines import Escalate, Expire, Remind, TakeDefault, due_step
from callboard.state.sql.answering import close_with_answer, hold, resume_waiting
from callboard.state.sql.ending import note
from callboard.state.sql.events import record_once
from callboard.state.sql.question_messages import ask_again, close_messages, remind
from callboard.state.sql.questions import clarification_of

SWEPT_AT_ONCE = 200


def sweep(connection: Connection, now: datetime) -> tuple[int, Consequences]:
    """Does what open questions are due for; how many there were (at most SWEPT_AT_ONCE), and what is to be told."""
    # Literal, as in the partial index: with a parameter the planner cannot use that.
    asked = clarifications.c.status == literal_column("'asked'")
    late = and_(
        clarifications.c.deadline <= now,
        or_(clarifications.c.on_deadline.is_(None), clarifications.c.on_deadline != "wait"),
    )
    due = connection.execute(
        select(clarifications.c.id, clarifications.c.run_id)
        .where(asked, or_(late, clarifications.c.next_reminder <= now))
        .order_by(clarifications.c.id)
        .limit(SWEPT_AT_ONCE)
    ).all()
    if not due:
        return 0, Consequences()
    hold(connection, [row.run_id for row in due])
    # Read again under the lock: another sweeper, or a person, may have been first.
    rows = connection.execute(
        select(clarifications)
        .where(clarifications.c.id.in_([row.id for row in due]), asked)
        .order_by(clarifications.c.id)
        .with_for_update()
    ).mappings()
    told = Consequences()
    for row in rows.all():
        told = told.plus(_act(connection, row, now))
    return len(due), told


def _act(connection: Connection, row: RowMapping, now: datetime) -> Consequences:
    question = clarification_of(row)
    match due_step(question, now):
        case Expire():
            return _expire(connection, row, now)
        case TakeDefault():
            nobody = Actor(kind="system", id=DEFAULT, via="deadline")
            taken = Answer(answer=question.default_answer, now=now, actor=nobody, clarification_id=question.id)
            return close_with_answer(connection, row, taken)
        case Escalate(channel=channel, deadline=deadline):
            _set(connection, row, escalated_at=now, deadline=deadline)
            line = {"clarification_id": row["id"], "escalated_to": channel}
            note(connection, [(row["run_id"], "question", line)], now)
            return Consequences(wakes=frozenset(ask_again(connection, row, channel, now)))
        case Remind(number=number, following=following):
            _set(connection, row, next_reminder=following)
            return Consequences(wakes=frozenset(remind(connection, row, number, now)))
        case None:
            return Consequences()


def _expire(connection: Connection, row: RowMapping, now: datetime) -> Consequences:
    _set(connection, row, status=ClarificationStatus.EXPIRED.value, answered_at=now)
    wakes = close_messages(connection, [row["id"]], now) | resume_waiting(connection, row["run_id"], now)
    return Consequences(
        events=record_once(connection, [clarification_event(row, "expired", now)]), wakes=frozenset(wakes)
    )


def _set(connection: Connection, row: RowMapping, **values: object) -> None:
    connection.execute(update(clarifications).where(clarifications.c.id == row["id"]).values(**values))
