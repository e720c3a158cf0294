"""Unit of work: how much waits, read from indexes that hold only what waits, however long the history is."""

from __future__ import annotations

from sqlalchemy import Connection, func, literal_column, select, text

from callboard.state.models import CLAIMABLE, dead_letters, events, outbox, runs
from callboard.state.story import Statistics

# Written out as in the conditions of the indexes: a planner that sees a parameter cannot know that they apply.
_QUEUED = (
    select(runs.c.mode, runs.c.lane, func.count().label("n")).where(text(CLAIMABLE)).group_by(runs.c.mode, runs.c.lane)
)
_RUNNING = select(runs.c.mode, func.count().label("n")).where(text("status = 'running'")).group_by(runs.c.mode)
_KEPT = select(func.count()).where(dead_letters.c.status == literal_column("'kept'"))
_OLDEST = select(events.c.accepted_at).where(events.c.seq == select(func.min(outbox.c.event_seq)).scalar_subquery())


def count_waiting(connection: Connection) -> Statistics:
    """Runs that wait for a slot (not those that wait for their turn), runs at work, dead letters, the oldest event."""
    return Statistics(
        queued={(row.mode, row.lane): row.n for row in connection.execute(_QUEUED)},
        running={row.mode: row.n for row in connection.execute(_RUNNING)},
        dead_letters=connection.execute(_KEPT).scalar_one(),
        untold_since=connection.execute(_OLDEST).scalar(),
    )
