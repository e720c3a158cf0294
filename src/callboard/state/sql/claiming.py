"""Units of work: taking runs that are ready (DESIGN.md, R5).

Chosen and taken in one transaction by two statements: the first finds nothing most of the time, and costs less than
the update that R5 names; `SKIP LOCKED` gives the same exclusion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select, text, tuple_, update

from callboard.errors import FencedError
from callboard.state.codec import decode
from callboard.state.models import CLAIMABLE, agent_status, processes, run_io, runs
from callboard.state.runs import SUSPECT_LOSSES, ClaimedRun, ClaimRequest, Lane, RunStatus
from callboard.state.sql.direct import Row, column, fetch
from callboard.state.sql.rows import run_of


def claim(connection: Connection, requests: Sequence[ClaimRequest]) -> list[list[ClaimedRun]]:
    """For each request the runs that its process owns from now on, most urgent first.

    Raises FencedError for a process that is unknown or was declared dead: it must end (DESIGN.md, R14).
    """
    _check_alive(connection, requests, ALIVE)
    return [_claim(connection, request) for request in requests]


def _check_alive(connection: Connection, requests: Sequence[ClaimRequest], alive: Select[tuple[str]]) -> None:
    ids = {request.process_id for request in requests}
    ids -= set(column(connection, alive, {"ids": list(ids)}))
    if ids:
        raise FencedError(f"process {', '.join(sorted(ids))} was declared dead: it may not claim runs")


def _claim(connection: Connection, request: ClaimRequest) -> list[ClaimedRun]:
    taken = fetch(connection, OWN, {"owner": request.process_id, "token": request.token})
    seqs = [] if taken else _choose(connection, request)
    if seqs:
        # Nobody can declare the process dead from here to the commit and overlook what it takes now.
        _check_alive(connection, [request], ALIVE_HELD)
        taken = fetch(
            connection,
            TAKE,
            {"seqs": seqs, "b_owner": request.process_id, "b_token": request.token, "b_now": request.now},
        )
    if not taken:
        return []
    found = fetch(connection, INPUTS, {"ids": [row["run_id"] for row in taken]})
    inputs = {row["run_id"]: row["input"] for row in found}
    ordered = sorted(taken, key=lambda row: (row["rank"], row["seq"]))
    return [ClaimedRun(run=run_of(row), input=decode(inputs[row["run_id"]])) for row in ordered]


def _choose(connection: Connection, request: ClaimRequest) -> list[int]:
    """Interactive runs first, batch ones within their share, and at most one that has lost owners again and again."""
    where = {"mode": request.mode, "now": request.now, "closed": sorted(request.closed_agents)}
    line = fetch(connection, READY, {**where, "limit": request.slots})
    if request.suspect:
        line = sorted([*line, *_suspect(connection, request, where, line)], key=itemgetter("rank", "seq"))
    batch = request.batch_slots
    seqs: list[int] = []
    for row in line[: request.slots]:
        if row["lane"] == Lane.BATCH:
            if batch <= 0:
                continue
            batch -= 1
        seqs.append(row["seq"])
    return seqs


def _suspect(
    connection: Connection, request: ClaimRequest, where: Mapping[str, Any], others: Sequence[Row]
) -> list[dict[str, Any]]:
    """The first one in line, however many others there are: it waits for its turn, not for a pool that is idle.

    Where the others take every place only what comes before their last is looked at, never the whole backlog. None for
    a process that has one, in whatever pool: the row of the run says so, no count in memory can be late.
    """
    full = len(others) >= request.slots
    last = (others[-1]["rank"], others[-1]["seq"]) if full else _END_OF_THE_LINE
    found = fetch(connection, SUSPECTS, {**where, "before_rank": last[0], "before_seq": last[1], "limit": 1})
    return [] if found and fetch(connection, HELD_SUSPECT, {"owner": request.process_id}) else found


def _ready(*, suspect: bool) -> Select[tuple[int, str, int]]:
    paused = select(agent_status.c.agent).where(agent_status.c.status == "paused")
    return (
        select(runs.c.seq, runs.c.lane, runs.c.rank)
        .where(
            text(CLAIMABLE),
            runs.c.mode == bindparam("mode"),
            runs.c.available_at <= bindparam("now"),
            runs.c.lease_losses >= SUSPECT_LOSSES if suspect else runs.c.lease_losses < SUSPECT_LOSSES,
            runs.c.agent.not_in(paused),
            runs.c.agent.not_in(bindparam("closed", expanding=True)),
        )
        .order_by(runs.c.rank, runs.c.seq)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True)
    )


READY = _ready(suspect=False)
SUSPECTS = _ready(suspect=True).where(
    tuple_(runs.c.rank, runs.c.seq) < tuple_(bindparam("before_rank"), bindparam("before_seq"))
)
_END_OF_THE_LINE = (2**15 - 1, 2**63 - 1)
# The literal status is that of the partial index on owners.
HELD_SUSPECT = (
    select(runs.c.seq)
    .where(runs.c.owner == bindparam("owner"), text("status = 'running'"), runs.c.lease_losses >= SUSPECT_LOSSES)
    .limit(1)
)
ALIVE = select(processes.c.id).where(processes.c.id.in_(bindparam("ids", expanding=True)), processes.c.dead.is_(False))
ALIVE_HELD = ALIVE.with_for_update(read=True, key_share=True)
# The literal status is that of the partial index on owners. A claim that is repeated finds what it took (R7).
OWN = select(runs).where(
    runs.c.owner == bindparam("owner"), text("status = 'running'"), runs.c.claim_token == bindparam("token")
)
INPUTS = select(run_io.c.run_id, run_io.c.input).where(run_io.c.run_id.in_(bindparam("ids", expanding=True)))
TAKE = (
    update(runs)
    .where(runs.c.seq.in_(bindparam("seqs", expanding=True)))
    .values(
        status=RunStatus.RUNNING.value,
        owner=bindparam("b_owner"),
        claim_token=bindparam("b_token"),
        fencing=runs.c.fencing + 1,
        attempt=runs.c.failures + 1,
        started_at=func.coalesce(runs.c.started_at, bindparam("b_now", type_=runs.c.started_at.type)),
    )
    .returning(runs)
)
