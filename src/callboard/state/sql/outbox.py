"""Units of work: events that are stored and not yet told (DESIGN.md, R17)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, select, update

from callboard.state.database import one_statement
from callboard.state.finishing import StoredEvent
from callboard.state.models import events, outbox
from callboard.state.sql.direct import change
from callboard.state.sql.rows import stored_event

FORGET = delete(outbox).where(outbox.c.event_seq == bindparam("b_seq"))


def take_due(connection: Connection, now: datetime, again_after: timedelta, limit: int) -> list[StoredEvent]:
    """Events that nobody has confirmed, each left to this relay until `again_after` has passed."""
    seqs = list(
        connection.execute(
            select(outbox.c.event_seq)
            .where(outbox.c.next_try <= now)
            .order_by(outbox.c.event_seq)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).scalars()
    )
    if not seqs:
        return []
    connection.execute(update(outbox).where(outbox.c.event_seq.in_(seqs)).values(next_try=now + again_after))
    rows = connection.execute(select(events).where(events.c.seq.in_(seqs)).order_by(events.c.seq))
    return [stored_event(row) for row in rows.mappings()]


@one_statement
def delete_told(connection: Connection, seqs: Sequence[int]) -> list[None]:
    change(connection, FORGET, [{"b_seq": seq} for seq in seqs])
    return [None] * len(seqs)


def release_all(connection: Connection, now: datetime) -> None:
    """Makes everything due at once: the process that would have told it is gone."""
    connection.execute(update(outbox).values(next_try=now))
