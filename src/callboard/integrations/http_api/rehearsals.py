"""What dry runs would have done and asked, as the API shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from callboard.state.replay_store import ReplayStore
from callboard.state.runs import RunResult

WOULD_DO = "would_do"
WOULD_ASK = "would_ask"


async def rehearsed(replays: ReplayStore, run_id: str) -> dict[str, Any]:
    """For a dry run and the runs under it, each with the place in them where it would have been."""
    paths = paths_of(run_id, await replays.family(run_id))
    lines = await replays.lines(list(paths), (WOULD_DO, WOULD_ASK))
    told: dict[str, list[dict[str, Any]]] = {WOULD_DO: [], WOULD_ASK: []}
    for line in lines:
        told[line.kind].append({"step": paths[line.run_id], **line.data})
    return {"dry": True, **told}


def paths_of(run_id: str, family: Sequence[RunResult]) -> dict[str, str]:
    """The place of each run in the family, by run id: the steps that lead to it, "" for the first."""
    paths = {run_id: ""}
    for found in family:
        run = found.run
        above = paths.get(run.parent_run_id or "")
        if above is not None and run.run_id != run_id:
            paths[run.run_id] = f"{above}/{run.step_id}".removeprefix("/")
    return paths
