"""Units of work: leases of processes, and what happens to the runs of one that is gone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, insert, select, update

from callboard.errors import FencedError
from callboard.state.database import one_statement
from callboard.state.effects import EffectStatus
from callboard.state.finishing import Consequences
from callboard.state.models import effects, processes, runs
from callboard.state.processes import BeatReply, ProcessRecord
from callboard.state.readiness import at_once
from callboard.state.runs import MAX_LEASE_LOSSES, RunError, RunStatus
from callboard.state.sql import order
from callboard.state.sql.budgets import Charge, charge
from callboard.state.sql.direct import Row
from callboard.state.sql.ending import Ended, end, note

LOST = f"its process was lost {MAX_LEASE_LOSSES + 1} times while it ran"
CANCELLED = RunError(code="cancelled", message="cancelled on request")


def register(connection: Connection, record: ProcessRecord) -> None:
    connection.execute(
        insert(processes),
        [
            {
                "id": record.id,
                "role": record.role,
                "host": record.host,
                "pid": record.pid,
                "beat": record.beat,
                "started_at": record.started_at,
                "beat_at": record.beat_at,
                "dead": record.dead,
            }
        ],
    )


def beat(connection: Connection, process_id: str, now: datetime) -> BeatReply:
    """Raises FencedError once the process was declared dead: it must end."""
    done = connection.execute(
        update(processes)
        .where(processes.c.id == process_id, processes.c.dead.is_(False))
        .values(beat=processes.c.beat + 1, beat_at=now)
    )
    if done.rowcount == 0:
        raise FencedError(f"process {process_id} was declared dead: its runs have gone to others")
    cancelled = connection.execute(
        select(runs.c.run_id).where(
            runs.c.owner == process_id, runs.c.status == RunStatus.RUNNING, runs.c.cancel_requested_at.is_not(None)
        )
    ).scalars()
    return BeatReply(cancelled=frozenset(cancelled))


@one_statement
def list_alive(connection: Connection) -> list[ProcessRecord]:
    rows = connection.execute(select(processes).where(processes.c.dead.is_(False)).order_by(processes.c.started_at))
    return [
        ProcessRecord(
            id=row.id,
            role=row.role,
            host=row.host,
            pid=row.pid,
            beat=row.beat,
            started_at=row.started_at,
            beat_at=row.beat_at,
            dead=row.dead,
        )
        for row in rows
    ]


def count_owned(connection: Connection, ids: Sequence[str]) -> int:
    """How many runs the processes have under way."""
    return connection.execute(
        select(func.count()).where(runs.c.owner.in_(ids), runs.c.status == RunStatus.RUNNING)
    ).scalar_one()


def declare_dead(connection: Connection, ids: Sequence[str], now: datetime) -> Consequences:
    """Takes the processes' runs from them: each is queued again, or ends when it has lost too many owners."""
    _bury(connection, ids)
    return _take_back(connection, ids, now, loss=1)


def hand_back(connection: Connection, process_id: str, now: datetime) -> Consequences:
    """A clean exit: what the process still held is queued again and counts as no loss."""
    _bury(connection, [process_id])
    return _take_back(connection, [process_id], now, loss=0)


def _bury(connection: Connection, ids: Sequence[str]) -> None:
    """Waits for claims of the processes that are under way: what those take is taken back too."""
    rows = select(processes.c.id).where(processes.c.id.in_(ids)).order_by(processes.c.id).with_for_update()
    connection.execute(rows).close()
    connection.execute(update(processes).where(processes.c.id.in_(ids)).values(dead=True))


def _take_back(connection: Connection, ids: Sequence[str], now: datetime, *, loss: int) -> Consequences:
    owned = select(runs.c.run_id).where(runs.c.owner.in_(ids), runs.c.status == RunStatus.RUNNING)
    order.lock_keys_of(connection, connection.execute(owned).scalars())
    rows = (
        connection.execute(
            select(runs)
            .where(runs.c.owner.in_(ids), runs.c.status == RunStatus.RUNNING)
            .order_by(runs.c.seq)
            .with_for_update()
        )
        .mappings()
        .all()
    )
    cancelled = [row for row in rows if row["cancel_requested_at"] is not None]
    others = [row for row in rows if row["cancel_requested_at"] is None]
    lost = [row for row in others if row["lease_losses"] + loss > MAX_LEASE_LOSSES]
    again = [row for row in others if row["lease_losses"] + loss <= MAX_LEASE_LOSSES]
    ended = [Ended(row=row, status=RunStatus.CANCELLED, error=CANCELLED) for row in cancelled]
    doubtful = _doubtful(connection, [row["run_id"] for row in lost])
    ended += [Ended(row=row, status=RunStatus.FAILED, error=_lost(doubtful[row["run_id"]])) for row in lost]
    told = end(connection, ended, now)
    told = told.plus(Consequences(wakes=frozenset(_queue_again(connection, again, now, loss=loss))))
    # Nobody knows how far the model calls under way had come (DESIGN.md, R20).
    charge(connection, [Charge(row=row, in_full=True) for row in rows], now)
    return told


def _doubtful(connection: Connection, run_ids: Sequence[str]) -> Mapping[str, set[str]]:
    """By run the tools of which a call was begun and never ended: nobody will look any more whether it came through."""
    tools: dict[str, set[str]] = defaultdict(set)
    if run_ids:
        begun = select(effects.c.run_id, effects.c.tool).where(
            effects.c.run_id.in_(run_ids), effects.c.status == EffectStatus.ATTEMPTING.value
        )
        for row in connection.execute(begun):
            tools[row.run_id].add(row.tool)
    return tools


def _lost(doubtful: Collection[str]) -> RunError:
    if not doubtful:
        return RunError(code="worker_lost", message=LOST)
    named = ", ".join(repr(tool) for tool in sorted(doubtful))
    unknown = f"the outcome of its call of {named} is unknown: it may have happened, so look before you do it again"
    return RunError(code="worker_lost", message=f"{LOST}; {unknown}")


def _queue_again(connection: Connection, rows: Sequence[Row], now: datetime, *, loss: int) -> set[str]:
    if not rows:
        return set()
    connection.execute(
        update(runs)
        .where(runs.c.seq == bindparam("b_seq"))
        .values(
            status=RunStatus.QUEUED.value,
            owner=None,
            claim_token=None,
            available_at=at_once(now),
            lease_losses=runs.c.lease_losses + loss,
        ),
        [{"b_seq": row["seq"]} for row in rows],
    )
    reason = "its process was lost" if loss else "its process stopped"
    note(connection, [(row["run_id"], "status", {"status": "queued", "reason": reason}) for row in rows], now)
    return order.requeue(connection, rows)
