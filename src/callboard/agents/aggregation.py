"""What a plan comes to, and who said what; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from callboard.agents.engines.text_limits import clipped
from callboard.state.plans import Plan, PlanRunState, PlanStep, StepState, StepStatus

LAST, ALL = "last", "all"
BY_STEP = "step:"
NOTHING_DONE = "Nothing had to be done: every step of the plan was skipped."
SOURCE_CHARS = 4_000
"""So much of each output stands among the sources; its run has the whole of it."""


def aggregate_results(plan: Plan, state: PlanRunState) -> Any:
    """The result of a plan that has ended.

    One last output is the result as it is. Several, or those of a plan that puts them together, are `{"answer": …,
    "sources": [{"step", "agent", "run_id", "output"}]}`, in the plan's order. Last is what no other step that was done
    builds on. `run_id` is null for a step that was done for each item of a list.
    """
    done = [step for step in plan.steps if _state(state, step).status is StepStatus.SUCCEEDED]
    if not done:
        return NOTHING_DONE
    last = _ends(done)
    if plan.aggregate is not None and plan.aggregate.startswith(BY_STEP):
        together = plan.step(plan.aggregate.removeprefix(BY_STEP))
        if together in done and together is not None:
            said = [step for step in done if step.id in together.depends_on]
            return {"answer": _state(state, together).output, "sources": _sources(said, state)}
    if plan.aggregate == LAST or (plan.aggregate is None and len(last) == 1):
        return _state(state, last[-1]).output
    told = done if plan.aggregate == ALL else last
    parts = [f"*{step.id}* ({step.agent})\n{_text(_state(state, step).output)}" for step in told]
    return {"answer": "\n\n".join(parts), "sources": _sources(told, state)}


def with_aggregation(plan: Plan, agent: str | None) -> Plan:
    """The plan with a last step in which the agent is given the goal and every last output, by step; without an agent
    the plan itself."""
    if agent is None or not plan.steps:
        return plan
    name = next(name for name in _names() if plan.step(name) is None)
    results = {step.id: f"${{step.{step.id}.output}}" for step in _ends(plan.steps)}
    together = PlanStep(
        id=name,
        agent=agent,
        input={"goal": "${input}", "results": results},
        depends_on=tuple(results),
        run_if_skipped=True,
    )
    return replace(plan, steps=(*plan.steps, together), aggregate=f"{BY_STEP}{name}")


def without_aggregation(plan: Plan) -> Plan:
    """The plan without the step that `with_aggregation` has added."""
    if plan.aggregate is None or not plan.aggregate.startswith(BY_STEP):
        return plan
    name = plan.aggregate.removeprefix(BY_STEP)
    return replace(plan, steps=tuple(step for step in plan.steps if step.id != name), aggregate=None)


def _names() -> Any:
    yield "together"
    number = 2
    while True:
        yield f"together-{number}"
        number += 1


def _ends(steps: Sequence[PlanStep]) -> list[PlanStep]:
    used = {name for step in steps for name in step.prerequisites}
    return [step for step in steps if step.id not in used]


def _state(state: PlanRunState, step: PlanStep) -> StepState:
    return state.steps.get(step.id, StepState())


def _sources(steps: Sequence[PlanStep], state: PlanRunState) -> list[dict[str, Any]]:
    return [
        {
            "step": step.id,
            "agent": step.agent,
            "run_id": _state(state, step).run_id,
            "output": _short(_state(state, step).output),
        }
        for step in steps
    ]


def _short(output: Any) -> Any:
    text = _text(output)
    return output if len(text) <= SOURCE_CHARS else clipped(text, SOURCE_CHARS)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
