"""Units of work that only read: runs, what became of them, and how many there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, bindparam, func, or_, select

from callboard.ids import derive_id
from callboard.messaging import topology
from callboard.state.codec import decode
from callboard.state.database import one_statement
from callboard.state.models import events, progress, run_io, runs
from callboard.state.runs import Run, RunError, RunResult, RunStatus
from callboard.state.sql.direct import fetch
from callboard.state.sql.order import ACTIVE
from callboard.state.sql.rows import run_of
from callboard.state.story import AgentSums, Backlog, PendingRun, ProgressLine, RunFilter

LOOKED_THROUGH = 10_000
"""So many accepted events, newest first, are looked through for the one that a run id follows from."""

_RESULTS = select(runs, run_io.c.input, run_io.c.output, run_io.c.error).join(run_io, run_io.c.run_id == runs.c.run_id)

_WATCHED = (
    select(runs.c.status, progress.c.n, progress.c.kind, progress.c.data, progress.c.created_at)
    .select_from(runs.outerjoin(progress, and_(progress.c.run_id == runs.c.run_id, progress.c.n > bindparam("after"))))
    .where(runs.c.run_id == bindparam("run_id"), runs.c.tenant == bindparam("tenant"))
    .order_by(progress.c.n)
    .limit(bindparam("limit"))
)


@one_statement
def load_run(connection: Connection, tenant: str, run_id: str) -> Run | None:
    row = connection.execute(select(runs).where(runs.c.run_id == run_id, runs.c.tenant == tenant)).mappings().first()
    return None if row is None else run_of(row)


@one_statement
def load_result(connection: Connection, tenant: str, run_id: str) -> RunResult | None:
    row = connection.execute(_RESULTS.where(runs.c.run_id == run_id, runs.c.tenant == tenant)).mappings().first()
    return None if row is None else _result_of(row)


@one_statement
def load_children(connection: Connection, run_id: str, among: Collection[str] | None = None) -> list[RunResult]:
    wanted = _RESULTS.where(runs.c.parent_run_id == run_id)
    if among is not None:
        wanted = wanted.where(runs.c.run_id.in_(among))
    rows = connection.execute(wanted.order_by(runs.c.seq))
    return [_result_of(row) for row in rows.mappings()]


def results_of(connection: Connection, which: ColumnElement[bool]) -> list[RunResult]:
    """In the order of their beginnings."""
    rows = connection.execute(_RESULTS.where(which).order_by(runs.c.seq))
    return [_result_of(row) for row in rows.mappings()]


def _result_of(row: RowMapping) -> RunResult:
    return RunResult(
        run=run_of(row),
        input=decode(row["input"]),
        output=None if row["output"] is None else decode(row["output"]),
        error=error_of(row),
    )


@one_statement
def load_pending(connection: Connection, tenant: str, run_id: str) -> PendingRun | None:
    """The accepted event that will start a run of this id. A run id follows from it, not the other way round."""
    rows = connection.execute(
        select(events.c.event_id, events.c.topic, events.c.trace_id, events.c.accepted_at)
        .where(
            events.c.tenant == tenant,
            events.c.routed_at.is_(None),
            or_(*(events.c.topic.startswith(f"{prefix}.", autoescape=True) for prefix in topology.ADDRESSED)),
        )
        .order_by(events.c.seq.desc())
        .limit(LOOKED_THROUGH)
    )
    for row in rows:
        agent = topology.addressee(row.topic) or ""
        if derive_id("run", row.event_id, agent) == run_id:
            return PendingRun(
                run_id=run_id, event_id=row.event_id, trace_id=row.trace_id, agent=agent, accepted_at=row.accepted_at
            )
    return None


@one_statement
def list_runs(connection: Connection, wanted: RunFilter) -> list[Run]:
    """Newest first."""
    query = select(runs).where(runs.c.tenant == wanted.tenant)
    if wanted.agent is not None:
        query = query.where(runs.c.agent == wanted.agent)
    if wanted.status is not None:
        query = query.where(runs.c.status == wanted.status.value)
    if wanted.trace_id is not None:
        query = query.where(runs.c.trace_id == wanted.trace_id)
    if wanted.parent_run_id is not None:
        query = query.where(runs.c.parent_run_id == wanted.parent_run_id)
    if wanted.before is not None:
        query = query.where(runs.c.seq < wanted.before)
    rows = connection.execute(query.order_by(runs.c.seq.desc()).limit(wanted.limit))
    return [run_of(row) for row in rows.mappings()]


@one_statement
def load_progress(connection: Connection, run_id: str, after: int, limit: int) -> list[ProgressLine]:
    rows = connection.execute(
        select(progress).where(progress.c.run_id == run_id, progress.c.n > after).order_by(progress.c.n).limit(limit)
    )
    return [
        ProgressLine(run_id=row.run_id, n=row.n, kind=row.kind, data=row.data, created_at=row.created_at)
        for row in rows
    ]


@one_statement
def load_watched(
    connection: Connection, tenant: str, run_id: str, after: int, limit: int
) -> tuple[list[ProgressLine], bool]:
    """The lines of a run after the line `after`, and whether it has ended and these are the last."""
    rows = fetch(connection, _WATCHED, {"tenant": tenant, "run_id": run_id, "after": after, "limit": limit})
    lines = [
        ProgressLine(run_id=run_id, n=row["n"], kind=row["kind"], data=row["data"], created_at=row["created_at"])
        for row in rows
        if row["n"] is not None
    ]
    return lines, bool(rows) and len(lines) < limit and RunStatus(rows[0]["status"]).terminal


@one_statement
def count_active(connection: Connection) -> list[Backlog]:
    rows = connection.execute(
        select(runs.c.status, runs.c.mode, runs.c.lane, func.count().label("n"))
        .where(runs.c.status.in_(ACTIVE))
        .group_by(runs.c.status, runs.c.mode, runs.c.lane)
    )
    return [Backlog(status=RunStatus(row.status), mode=row.mode, lane=row.lane, count=row.n) for row in rows]


def sums_of_agents(connection: Connection, tenant: str, agent: str | None) -> list[AgentSums]:
    """By name."""
    query = (
        select(
            runs.c.agent,
            runs.c.status,
            func.count().label("n"),
            func.sum(runs.c.cost_usd).label("cost_usd"),
            func.sum(runs.c.input_tokens).label("input_tokens"),
            func.sum(runs.c.output_tokens).label("output_tokens"),
        )
        .where(runs.c.tenant == tenant)
        .group_by(runs.c.agent, runs.c.status)
        .order_by(runs.c.agent, runs.c.status)
    )
    if agent is not None:
        query = query.where(runs.c.agent == agent)
    of_agent: dict[str, list[RowMapping]] = defaultdict(list)
    for row in connection.execute(query).mappings():
        of_agent[row["agent"]].append(row)
    return [_sums(name, rows) for name, rows in of_agent.items()]


def errors_of(connection: Connection, run_ids: Sequence[str]) -> dict[str, RunError]:
    """By run id, of those that have one."""
    rows = connection.execute(
        select(run_io.c.run_id, run_io.c.error).where(run_io.c.run_id.in_(run_ids), run_io.c.error.is_not(None))
    )
    found = ((row["run_id"], error_of(row)) for row in rows.mappings())
    return {run_id: error for run_id, error in found if error is not None}


def error_of(row: RowMapping) -> RunError | None:
    error = row["error"]
    return None if error is None else RunError(code=error["code"], message=error["message"])


def _sums(agent: str, rows: Sequence[RowMapping]) -> AgentSums:
    return AgentSums(
        agent=agent,
        runs={row["status"]: row["n"] for row in rows},
        cost_usd=float(sum(row["cost_usd"] for row in rows)),
        input_tokens=int(sum(row["input_tokens"] for row in rows)),
        output_tokens=int(sum(row["output_tokens"] for row in rows)),
    )
