"""`collaboration`: the members of a collaborative agent and, where there is one, its fixed plan."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from pydantic import Field, JsonValue, ValidationInfo, field_validator

from callboard.config.record import Flag, Record, Whole
from callboard.config.refusal import refuse, suggestion

_STEP_REFERENCE = re.compile(r"\$\{(?:step\.)?([A-Za-z0-9_-]+)\.output[^}]*\}")


class PlanStep(Record):
    """One step: which member does it, on what input, after which steps."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    agent: str
    input: str | dict[str, JsonValue] = "${input}"
    depends_on: tuple[str, ...] = ()


class CollaborationSettings(Record):
    """Who works together and how far a plan may go; without `plan` the planner makes one."""

    members: tuple[str, ...] = ()
    approve_plan: Flag = False
    max_steps: Whole = Field(default=12, ge=1, le=100)
    plan: tuple[PlanStep, ...] = ()

    @field_validator("members")
    @classmethod
    def _members_once(cls, members: tuple[str, ...]) -> tuple[str, ...]:
        doubled = sorted({name for name in members if members.count(name) > 1})
        if doubled:
            raise refuse(f"'{doubled[0]}' is named twice", "name each member once")
        return members

    @field_validator("plan")
    @classmethod
    def _plan_holds_together(cls, plan: tuple[PlanStep, ...], info: ValidationInfo) -> tuple[PlanStep, ...]:
        ids = [step.id for step in plan]
        doubled = sorted({step for step in ids if ids.count(step) > 1})
        if doubled:
            raise refuse(f"two steps have the id '{doubled[0]}'", "give each step an id of its own")
        if len(plan) > info.data.get("max_steps", len(plan)):
            raise refuse(f"the plan has {len(plan)} steps, max_steps is {info.data['max_steps']}", "raise max_steps")
        for step in plan:
            _check_step(step, ids, info.data.get("members"))
        try:
            TopologicalSorter({step.id: step.depends_on for step in plan}).prepare()
        except CycleError as error:
            raise refuse(
                "the steps wait for each other: " + " → ".join(error.args[1]), "take one of these depends_on out"
            ) from None
        return plan


def _check_step(step: PlanStep, ids: list[str], members: tuple[str, ...] | None) -> None:
    if members is not None and step.agent not in members:
        raise refuse(f"step '{step.id}': '{step.agent}' is not among the members", suggestion(step.agent, members))
    for name in (*step.depends_on, *_referenced_steps(step.input)):
        if name not in ids:
            raise refuse(f"step '{step.id}' refers to a step '{name}' that is not there", suggestion(name, ids))
        if name == step.id:
            raise refuse(f"step '{step.id}' waits for itself", "refer to an earlier step")


def _referenced_steps(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from _STEP_REFERENCE.findall(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _referenced_steps(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _referenced_steps(item)
