"""A plan in the story of its run: what was planned, changed and left out, from the lines of the run; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from callboard.integrations.http_api.trace_node import Node
from callboard.state.story import ProgressLine


def plan_nodes(run_id: str, lines: Sequence[ProgressLine]) -> list[Node]:
    """Each plan the run has had, each answer of the planner that was none, each step that was skipped or failed."""
    return [node for line in lines if (node := _node(run_id, line)) is not None]


def _node(run_id: str, line: ProgressLine) -> Node | None:
    data = line.data
    details: dict[str, Any]
    match line.kind:
        case "plan":
            name, status = _named(data.get("steps")), "changed" if data.get("revision") else "made"
            details = {part: data[part] for part in ("revision", "origin", "steps", "reason") if part in data}
        case "plan_refused":
            name, status = "; ".join(map(str, data.get("problems") or ())), "refused"
            details = {}
        case "plan_step":
            name, status = str(data.get("step")), str(data.get("status"))
            details = {"reason": data.get("reason")}
        case _:
            return None
    return Node(
        kind="plan",
        id=f"{run_id}/plan/{line.n}",
        name=name,
        status=status,
        started_at=line.created_at,
        finished_at=None,
        details=details,
    )


def _named(steps: Any) -> str:
    """`look: scout, choose: chooser after look`."""
    told = []
    for step in steps if isinstance(steps, list) else ():
        after = ", ".join(map(str, step.get("depends_on") or ()))
        told.append(f"{step.get('id')}: {step.get('agent')}" + (f" after {after}" if after else ""))
    return " · ".join(told)
