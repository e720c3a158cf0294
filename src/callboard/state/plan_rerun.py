"""Doing a plan once more from one of its steps; pure."""

from __future__ import annotations

from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from callboard.errors import InvalidInputError, NotFoundError
from callboard.state.plan_references import references_to_nothing
from callboard.state.plans import Plan, PlanRunState, StepState, StepStatus


def plan_from_step(
    plan: Plan, state: PlanRunState, from_step: str, run_id: str, *, edited: Any = None
) -> tuple[Plan, PlanRunState]:
    """The plan and its state for the new run `run_id`: the step and all that depends on it are to be done, and what had
    not ended; outputs of everything else are taken over. `edited` is the step's input in place of the plan's.

    Raises NotFoundError (`unknown_step`) and InvalidInputError (`bad_reference`) for an input that cannot be filled in.
    """
    step = plan.step(from_step)
    if step is None:
        names = ", ".join(each.id for each in plan.steps)
        raise NotFoundError(f"the plan has no step '{from_step[:80]}': its steps are {names}", code="unknown_step")
    if edited is not None:
        changed = replace(step, input=edited)
        plan = replace(plan, steps=tuple(changed if each.id == from_step else each for each in plan.steps))
        _check_input(plan, from_step)
    again = _with_dependents(plan, from_step)
    known = {each.id: state.steps.get(each.id, StepState()) for each in plan.steps}
    steps = {name: each for name, each in known.items() if name not in again and _is_taken_over(plan, name, each)}
    return replace(plan, revision=0), PlanRunState(run_id=run_id, steps=steps)


def _is_taken_over(plan: Plan, name: str, state: StepState) -> bool:
    step = plan.step(name)
    passed_over = state.status is StepStatus.FAILED and step is not None and step.on_failure == "continue"
    return passed_over or state.status in (StepStatus.SUCCEEDED, StepStatus.SKIPPED)


def _with_dependents(plan: Plan, from_step: str) -> set[str]:
    again = {from_step}
    while True:
        more = {step.id for step in plan.steps if step.id not in again and step.prerequisites & again}
        if not more:
            return again
        again |= more


def _check_input(plan: Plan, name: str) -> None:
    step = plan.step(name)
    assert step is not None  # noqa: S101  # it was just put there
    known = {each.id for each in plan.steps}
    lost = [*references_to_nothing(step.input, step.item_name), *sorted(step.prerequisites - known)]
    if lost:
        raise InvalidInputError(f"the input refers to nothing with {lost[0]}", code="bad_reference", field="input")
    try:
        TopologicalSorter({each.id: each.prerequisites for each in plan.steps}).prepare()
    except CycleError as error:
        raise InvalidInputError(
            "with this input the steps wait for each other: " + " → ".join(error.args[1]),
            code="bad_reference",
            field="input",
        ) from None
