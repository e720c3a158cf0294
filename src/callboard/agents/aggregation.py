"""What a plan comes to: the outputs of the steps that no other step builds on; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from callboard.agents.mapping import referred_steps
from callboard.state.plans import Plan


def aggregate_results(plan: Plan, outputs: Mapping[str, Any]) -> Any:
    """The one last output as it is; several under their steps' names, in the plan's order."""
    used = {name for step in plan.steps for name in (*step.depends_on, *referred_steps(step.input))}
    last = [step for step in plan.steps if step.id not in used and step.id in outputs]
    if len(last) == 1:
        return outputs[last[0].id]
    return "\n\n".join(f"*{step.id}* ({step.agent})\n{_text(outputs[step.id])}" for step in last)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
