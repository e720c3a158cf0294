"""Units of work: taking runs that are ready (DESIGN.md, R5)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, RowMapping, func, select, update

from callboard.errors import FencedError
from callboard.state.codec import decode
from callboard.state.models import agent_status, processes, run_io, runs
from callboard.state.runs import ClaimedRun, ClaimRequest, Lane, RunStatus
from callboard.state.sql.rows import run_of


def claim(connection: Connection, requests: Sequence[ClaimRequest]) -> list[list[ClaimedRun]]:
    """For each request the runs that its process owns from now on, most urgent first.

    Raises FencedError for a process that is unknown or was declared dead: it must end (DESIGN.md, R14).
    """
    _check_alive(connection, {request.process_id for request in requests})
    return [_claim(connection, request) for request in requests]


def _check_alive(connection: Connection, ids: set[str]) -> None:
    alive = set(
        connection.execute(select(processes.c.id).where(processes.c.id.in_(ids), processes.c.dead.is_(False))).scalars()
    )
    if ids - alive:
        raise FencedError(f"process {', '.join(sorted(ids - alive))} was declared dead: it may not claim runs")


def _claim(connection: Connection, request: ClaimRequest) -> list[ClaimedRun]:
    taken = _take(connection, request, request.slots, runs.c.lane == Lane.INTERACTIVE, runs.c.lease_losses == 0)
    batch = min(request.batch_slots, request.slots) - len(taken)
    if batch > 0:
        taken += _take(connection, request, batch, runs.c.lane == Lane.BATCH, runs.c.lease_losses == 0)
    if request.suspect and len(taken) < request.slots:
        taken += _take(connection, request, 1, runs.c.lease_losses > 0)
    if not taken:
        return []
    inputs = {
        row.run_id: row.input
        for row in connection.execute(
            select(run_io.c.run_id, run_io.c.input).where(run_io.c.run_id.in_([row["run_id"] for row in taken]))
        )
    }
    taken.sort(key=lambda row: (row["rank"], row["seq"]))
    return [ClaimedRun(run=run_of(row), input=decode(inputs[row["run_id"]])) for row in taken]


def _take(
    connection: Connection, request: ClaimRequest, limit: int, *conditions: ColumnElement[bool]
) -> list[RowMapping]:
    closed = select(agent_status.c.agent).where(agent_status.c.status.in_(("paused", "failed")))
    ready = (
        select(runs.c.seq)
        .where(
            runs.c.mode == request.mode,
            runs.c.status == RunStatus.QUEUED,
            runs.c.ready,
            runs.c.available_at <= request.now,
            runs.c.agent.not_in(closed),
            *conditions,
        )
        .order_by(runs.c.rank, runs.c.seq)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("ready_runs")
    )
    if connection.dialect.name == "postgresql":
        ready = ready.prefix_with("MATERIALIZED")
    rows = connection.execute(
        update(runs)
        .where(runs.c.seq.in_(select(ready.c.seq)))
        .values(
            status=RunStatus.RUNNING.value,
            owner=request.process_id,
            claim_token=request.token,
            fencing=runs.c.fencing + 1,
            attempt=runs.c.failures + 1,
            started_at=func.coalesce(runs.c.started_at, request.now, type_=runs.c.started_at.type),
        )
        .returning(runs)
    )
    return list(rows.mappings())
