"""How a plan goes on: which steps have ended, which can begin, whether all is done; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from callboard.agents.mapping import referred_steps
from callboard.state.plans import Plan, PlanRunState, PlanStep, StepState, StepStatus
from callboard.state.runs import RunResult, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class NextMove:
    """The plan's state with what has ended, and what to do: start steps, stop for a failed one, or finish."""

    state: PlanRunState
    start: tuple[PlanStep, ...] = ()
    failed: str | None = None
    finished: bool = False


def next_move(plan: Plan, state: PlanRunState, children: Sequence[RunResult]) -> NextMove:
    """`children` are the runs of the plan's steps as they are now."""
    by_run = {child.run.run_id: child for child in children}
    steps = {step.id: state.steps.get(step.id, StepState()) for step in plan.steps}
    for name, step in steps.items():
        child = by_run.get(step.run_id or "")
        if step.status is StepStatus.RUNNING and child is not None and child.run.status.terminal:
            steps[name] = _ended(step, child)
    failed = next((name for name, step in steps.items() if step.status is StepStatus.FAILED), None)
    if failed is not None:
        return NextMove(state=replace(state, steps=steps, status="failed"), failed=failed)
    done = {name for name, step in steps.items() if step.status is StepStatus.SUCCEEDED}
    if len(done) == len(steps):
        return NextMove(state=replace(state, steps=steps, status="succeeded"), finished=True)
    ready = tuple(
        step for step in plan.steps if steps[step.id].status is StepStatus.PENDING and prerequisites(step) <= done
    )
    return NextMove(state=replace(state, steps=steps), start=ready)


def started(state: PlanRunState, runs: Mapping[str, str]) -> PlanRunState:
    """The state after the steps named have their runs (step id → run id)."""
    steps = dict(state.steps)
    for name, run_id in runs.items():
        steps[name] = replace(steps.get(name, StepState()), status=StepStatus.RUNNING, run_id=run_id)
    return replace(state, steps=steps)


def outputs(state: PlanRunState) -> dict[str, Any]:
    """What the finished steps gave."""
    return {name: step.output for name, step in state.steps.items() if step.status is StepStatus.SUCCEEDED}


def absorbed(state: PlanRunState) -> frozenset[str]:
    """The runs whose end the state already contains."""
    ended = (StepStatus.SUCCEEDED, StepStatus.FAILED)
    return frozenset(step.run_id for step in state.steps.values() if step.run_id and step.status in ended)


def prerequisites(step: PlanStep) -> set[str]:
    return {*step.depends_on, *referred_steps(step.input)}


def _ended(step: StepState, child: RunResult) -> StepState:
    if child.run.status is RunStatus.SUCCEEDED:
        return replace(step, status=StepStatus.SUCCEEDED, output=child.output)
    reason = child.error.message if child.error is not None else f"the run ended as {child.run.status}"
    return replace(step, status=StepStatus.FAILED, error=reason)
