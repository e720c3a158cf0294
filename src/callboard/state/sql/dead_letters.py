"""Units of work: dead letters."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from callboard.errors import ConflictError, InvalidInputError, NotFoundError
from callboard.ids import derive_id
from callboard.messaging.events import Actor, Event
from callboard.messaging.foreign_events import event_from, is_storable
from callboard.messaging.topology import INBOX
from callboard.state.codec import decode
from callboard.state.database import one_statement
from callboard.state.dead_letters import DeadLetter
from callboard.state.finishing import Consequences
from callboard.state.models import dead_letters, events, outbox
from callboard.state.sql.answering import audit
from callboard.state.sql.events import PUBLISH_AGAIN_AFTER, record
from callboard.state.sql.rows import stored_event

FIELDS = (
    "id",
    "tenant",
    "queue",
    "topic",
    "reason",
    "event_id",
    "trace_id",
    "body",
    "deliveries",
    "status",
    "created_at",
    "closed_at",
)


def keep(connection: Connection, letter: DeadLetter) -> None:
    """A letter that is kept already stays as it is."""
    known = connection.execute(select(dead_letters.c.id).where(dead_letters.c.id == letter.id)).first()
    if known is None:
        connection.execute(insert(dead_letters), [{name: getattr(letter, name) for name in FIELDS}])


@one_statement
def list_letters(connection: Connection, tenant: str, status: str | None, limit: int) -> list[DeadLetter]:
    """Newest first."""
    query = select(dead_letters).where(dead_letters.c.tenant == tenant)
    if status is not None:
        query = query.where(dead_letters.c.status == status)
    rows = connection.execute(query.order_by(dead_letters.c.created_at.desc()).limit(limit))
    return [_letter(row) for row in rows.mappings()]


@one_statement
def load_letter(connection: Connection, tenant: str, letter_id: str) -> DeadLetter:
    wanted = select(dead_letters).where(dead_letters.c.id == letter_id, dead_letters.c.tenant == tenant)
    row = connection.execute(wanted).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no dead letter {letter_id}")
    return _letter(row)


def close(connection: Connection, tenant: str, letter_id: str, status: str, now: datetime) -> DeadLetter:
    """Marks a kept letter as requeued or dropped; raises ConflictError when somebody did so before."""
    connection.execute(select(dead_letters.c.id).where(dead_letters.c.id == letter_id).with_for_update()).close()
    letter = load_letter(connection, tenant, letter_id)
    if letter.status != "kept":
        raise ConflictError(f"dead letter {letter_id} was {letter.status} before", code="closed")
    connection.execute(update(dead_letters).where(dead_letters.c.id == letter_id).values(status=status, closed_at=now))
    return load_letter(connection, tenant, letter_id)


def drop(connection: Connection, tenant: str, letter_id: str, actor: Actor, now: datetime) -> DeadLetter:
    """Closes a kept letter for good."""
    letter = close(connection, tenant, letter_id, "dropped", now)
    audit(connection, actor, "deadletter.drop", letter_id, {"queue": letter.queue}, now)
    return letter


def requeue(
    connection: Connection, tenant: str, letter_id: str, actor: Actor, now: datetime
) -> tuple[DeadLetter, Consequences]:
    """Closes a kept letter and sends its event once more.

    An event that was never stored is accepted now; a letter of the inbox whose event was stored is routed anew, which
    gives no run twice; every other one is told on the bus again.
    """
    letter = close(connection, tenant, letter_id, "requeued", now)
    try:
        event = _event(letter, now)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"dead letter {letter_id} holds no event and can only be dropped: {error.message}", code="not_an_event"
        ) from error
    audit(connection, actor, "deadletter.requeue", letter_id, {"queue": letter.queue}, now)
    row = connection.execute(select(events).where(events.c.event_id == event.event_id)).mappings().first()
    if row is None:
        return letter, Consequences(events=record(connection, [event]))
    if decode(row["payload"]) != event.payload:
        raise ConflictError(
            f"event {event.event_id} is stored with another payload than dead letter {letter_id} has, which can only "
            "be dropped: a new event needs an id of its own",
            code="event_id_conflict",
        )
    if letter.queue == INBOX:
        connection.execute(update(events).where(events.c.seq == row["seq"]).values(routed_at=None))
    if connection.execute(select(outbox.c.event_seq).where(outbox.c.event_seq == row["seq"])).first() is None:
        connection.execute(insert(outbox), [{"event_seq": row["seq"], "next_try": now + PUBLISH_AGAIN_AFTER}])
    return letter, Consequences(events=(stored_event(row),))


def _event(letter: DeadLetter, now: datetime) -> Event:
    """What the letter holds: an event of ours, or one of another system with its gaps filled as the inbox does."""
    try:
        event = Event.from_json(letter.body)
    except InvalidInputError:
        if letter.queue != INBOX:
            raise
    else:
        if is_storable(event):
            return replace(event, retry_count=0)
    event = event_from(
        letter.body,
        topic=letter.topic,
        headers={},
        now=now,
        new_id=lambda: derive_id("letter", letter.id),
        message_id=letter.event_id,
    )
    return event if letter.trace_id is None else replace(event, trace_id=letter.trace_id)


@one_statement
def count_kept(connection: Connection) -> int:
    return connection.execute(select(func.count()).where(dead_letters.c.status == "kept")).scalar_one()


def _letter(row: RowMapping) -> DeadLetter:
    return DeadLetter(**{name: row[name] for name in FIELDS})
