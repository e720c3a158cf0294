"""Tasks for other agents: which may be handed on, and how their end is told to the model; pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from callboard.agents.engine import HandedResult, Work

MAX_DEPTH = 5
"""So many runs may stand above one another; the last one carries its task out itself."""


def handed_problem(agent: str, allowed: Sequence[str], work: Work) -> str | None:
    """Why the task cannot be handed to that agent, None when it can."""
    if agent not in allowed:
        return f"{agent!r} is not among the agents that tasks may be handed to: {', '.join(allowed)}"
    if agent not in work.agents:
        return f"there is no agent {agent!r} at the moment"
    if work.depth >= MAX_DEPTH:
        return f"tasks are handed on {MAX_DEPTH} times at the most: carry this one out yourself"
    return None


def handed_text(agent: str, result: HandedResult) -> str:
    """What the model is told of the end of a task."""
    if result.status == "succeeded":
        output = result.output
        return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
    return f"{agent} did not succeed ({result.status}): {result.error or 'no reason is known'}"
