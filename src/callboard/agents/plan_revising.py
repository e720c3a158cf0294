"""What stays of a plan that cannot go on as it is; pure."""

from __future__ import annotations

from dataclasses import replace

from callboard.agents.plan_runner import absorbed, outputs
from callboard.agents.planning_agent import Setback
from callboard.state.plans import Plan, PlanRunState, PlanStep, StepState, StepStatus


def setback_of(plan: Plan, state: PlanRunState, failed: str) -> Setback:
    """What the planner is told: `failed` is the step that the plan cannot do without."""
    kept = tuple(step for step in plan.steps if _stays(step, state))
    names = {step.id for step in kept}
    return Setback(
        step=failed,
        error=state.steps[failed].error or "no reason is known",
        done={name: output for name, output in outputs(state).items() if name in names},
        kept=kept,
        open=tuple(step.id for step in plan.steps if step.id not in names and step.id != failed),
    )


def revised_state(state: PlanRunState, setback: Setback) -> PlanRunState:
    """The state for the new plan: what stays is as it was, the rest begins anew."""
    names = {step.id for step in setback.kept}
    steps = {name: step for name, step in state.steps.items() if name in names}
    return replace(state, steps=steps, past=tuple(sorted(absorbed(state))), status="running")


def _stays(step: PlanStep, state: PlanRunState) -> bool:
    """What has ended well or may be done without, and a list that is done in part."""
    now = state.steps.get(step.id, StepState())
    if now.status is StepStatus.FAILED:
        return step.on_failure == "continue"
    return now.status is not StepStatus.PENDING
