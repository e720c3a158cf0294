"""`collaboration`: the members of a collaborative agent and, where there is one, its fixed plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationInfo, field_validator, model_validator

from callboard.config.record import Flag, Record, Whole
from callboard.config.refusal import refuse, suggestion
from callboard.state import plans
from callboard.state.plan_conditions import problem_of
from callboard.state.plan_references import references_to_nothing, referred_steps
from callboard.state.plans import MAX_ITEMS, MAX_NESTED_PLANS, MAX_PARALLEL, OnFailure


class PlanStep(Record):
    """One step: which member does it, on what input, after which steps, and under which conditions.

    With `plan` in place of `agent` it is a plan of its own, whose steps call this step's input `${input}`.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    agent: str = ""
    input: str | dict[str, JsonValue] = "${input}"
    depends_on: tuple[str, ...] = ()
    when: str | None = Field(default=None, min_length=1, max_length=500)
    run_if_skipped: Flag = False
    for_each: str | tuple[JsonValue, ...] | None = None
    item: str = Field(default="item", alias="as", pattern=r"^[a-z][a-z0-9_]{0,31}$")
    max_parallel: Whole = Field(default=MAX_PARALLEL, ge=1, le=MAX_ITEMS)
    on_failure: OnFailure | None = None
    plan: tuple[PlanStep, ...] = ()

    @field_validator("when")
    @classmethod
    def _a_condition(cls, when: str | None) -> str | None:
        problem = None if when is None else problem_of(when)
        if problem is not None:
            raise refuse(problem, 'compare, as in: ${step.check.output.ok} == true and ${input} != "draft"')
        return when

    @field_validator("for_each", mode="before")
    @classmethod
    def _a_list(cls, given: Any) -> Any:
        if given is not None and not isinstance(given, list | tuple) and "${" not in str(given):
            raise refuse(
                f"'{str(given)[:60]}' is no list", "write a list, or a reference such as ${step.ID.output.items}"
            )
        if isinstance(given, list | tuple) and len(given) > MAX_ITEMS:
            raise refuse(f"for_each has {len(given)} items, {MAX_ITEMS} are allowed", "split the list")
        return given

    @field_validator("item")
    @classmethod
    def _a_name_of_its_own(cls, name: str) -> str:
        if name in ("input", "step", "workflow"):
            raise refuse(f"an item cannot be called '{name}'", "choose another name for `as`")
        return name

    @model_validator(mode="after")
    def _somebody_does_it(self) -> PlanStep:
        if bool(self.agent) == bool(self.plan):
            said = "names both an agent and a plan" if self.agent else "names no agent"
            raise refuse(f"step '{self.id}' {said}", "write either `agent: MEMBER` or a `plan` of steps")
        if self.for_each is None and (self.item, self.max_parallel) != ("item", MAX_PARALLEL):
            raise refuse(f"step '{self.id}': `as` and max_parallel are for a list", "add for_each, or take them out")
        return self

    def step(self, coordinator: str) -> plans.PlanStep:
        """The step as plans have it; a plan within is carried out by the coordinator."""
        return plans.PlanStep(
            id=self.id,
            agent=coordinator if self.plan else self.agent,
            input=self.input,
            depends_on=self.depends_on,
            when=self.when,
            run_if_skipped=self.run_if_skipped,
            for_each=list(self.for_each) if isinstance(self.for_each, tuple) else self.for_each,
            item=self.item,
            max_parallel=self.max_parallel,
            on_failure=self.on_failure,
            steps=tuple(step.step(coordinator) for step in self.plan),
        )


class AggregateBy(Record):
    """The member that puts the last outputs together."""

    agent: str = Field(min_length=1)


class CollaborationSettings(Record):
    """Who works together and how far a plan may go; without `plan` the planner makes one.

    `max_revisions` is how often the planner may change a plan after a failed step: without it not at all for a fixed
    plan, and once for the planner's own.
    """

    members: tuple[str, ...] = ()
    approve_plan: Flag = False
    max_steps: Whole = Field(default=12, ge=1, le=100)
    max_revisions: Whole | None = Field(default=None, ge=0, le=10)
    aggregate: Literal["last", "all"] | AggregateBy | None = None
    plan: tuple[PlanStep, ...] = ()

    @field_validator("members")
    @classmethod
    def _members_once(cls, members: tuple[str, ...]) -> tuple[str, ...]:
        doubled = sorted({name for name in members if members.count(name) > 1})
        if doubled:
            raise refuse(f"'{doubled[0]}' is named twice", "name each member once")
        return members

    @field_validator("aggregate", mode="before")
    @classmethod
    def _a_way(cls, aggregate: Any) -> Any:
        if aggregate is not None and not isinstance(aggregate, dict | AggregateBy) and aggregate not in ("last", "all"):
            raise refuse(f"'{aggregate}' is no way to put outputs together", "write last, all or {agent: MEMBER}")
        return aggregate

    @field_validator("aggregate")
    @classmethod
    def _by_a_member(cls, aggregate: Any, info: ValidationInfo) -> Any:
        members = info.data.get("members")
        if isinstance(aggregate, AggregateBy) and members is not None and aggregate.agent not in members:
            raise refuse(f"'{aggregate.agent}' is not among the members", suggestion(aggregate.agent, members))
        return aggregate

    @field_validator("plan")
    @classmethod
    def _plan_holds_together(cls, plan: tuple[PlanStep, ...], info: ValidationInfo) -> tuple[PlanStep, ...]:
        count = sum(1 for _ in _all_steps(plan))
        if count > info.data.get("max_steps", count):
            raise refuse(f"the plan has {count} steps, max_steps is {info.data['max_steps']}", "raise max_steps")
        _check_plan(plan, info.data.get("members"), nesting=0)
        return plan


def _all_steps(plan: Sequence[PlanStep]) -> Iterator[PlanStep]:
    for step in plan:
        yield step
        yield from _all_steps(step.plan)


def _check_plan(plan: Sequence[PlanStep], members: tuple[str, ...] | None, *, nesting: int) -> None:
    ids = [step.id for step in plan]
    doubled = sorted({step for step in ids if ids.count(step) > 1})
    if doubled:
        raise refuse(f"two steps have the id '{doubled[0]}'", "give each step an id of its own")
    for step in plan:
        _check_step(step, ids, members)
        if step.plan and nesting >= MAX_NESTED_PLANS:
            raise refuse(f"step '{step.id}': plans stand {MAX_NESTED_PLANS} deep within each other at the most")
        _check_plan(step.plan, members, nesting=nesting + 1)
        if step.for_each is not None and any(inner.for_each is not None for inner in _all_steps(step.plan)):
            raise refuse(
                f"step '{step.id}': a plan that is done for each item of a list has no list of its own",
                "take for_each out of one of them, or give the inner list to another collaborative agent",
            )
    try:
        TopologicalSorter({step.id: step.step("").prerequisites for step in plan}).prepare()
    except CycleError as error:
        raise refuse(
            "the steps wait for each other: " + " → ".join(error.args[1]), "take one of these depends_on out"
        ) from None


def _check_step(step: PlanStep, ids: list[str], members: tuple[str, ...] | None) -> None:
    if members is not None and not step.plan and step.agent not in members:
        raise refuse(f"step '{step.id}': '{step.agent}' is not among the members", suggestion(step.agent, members))
    item = None if step.for_each is None else step.item
    for name in (*step.depends_on, *referred_steps(step.input, item), *referred_steps((step.when, step.for_each))):
        if name not in ids:
            raise refuse(f"step '{step.id}' refers to a step '{name}' that is not there", suggestion(name, ids))
        if name == step.id:
            raise refuse(f"step '{step.id}' waits for itself", "refer to an earlier step")
    for reference in (*references_to_nothing(step.input, item), *references_to_nothing(step.for_each)):
        raise refuse(
            f"step '{step.id}': {reference} refers to nothing", "write ${input}, ${step.ID.output} or a list's ${item}"
        )
