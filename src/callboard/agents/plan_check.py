"""Which steps make a plan that can be carried out; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from callboard.state.plan_conditions import problem_of
from callboard.state.plan_references import MAX_NESTING, references_to_nothing, referred_steps
from callboard.state.plans import MAX_ITEMS, MAX_NESTED_PLANS, MAX_PARALLEL, OnFailure, PlanStep

MAX_PROBLEMS = 20


class _Step(BaseModel):
    """One step as a model or a person writes it; what else they write is not looked at."""

    model_config = ConfigDict(extra="ignore")
    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    agent: str = ""
    input: JsonValue = "${input}"
    depends_on: tuple[str, ...] = ()
    when: str | None = None
    run_if_skipped: bool = False
    for_each: str | list[JsonValue] | None = None
    item: str = Field(default="item", alias="as", pattern=r"^[a-z][a-z0-9_]{0,31}$")
    max_parallel: int = Field(default=MAX_PARALLEL, ge=1, le=MAX_ITEMS)
    on_failure: OnFailure | None = None
    plan: tuple[_Step, ...] = ()

    @model_validator(mode="after")
    def _somebody_does_it(self) -> Self:
        if not self.agent and not self.plan:
            raise ValueError("agent: Field required")
        return self

    def step(self, coordinator: str) -> PlanStep:
        return PlanStep(
            id=self.id,
            agent=coordinator if self.plan else self.agent,
            input=self.input,
            depends_on=self.depends_on,
            when=self.when,
            run_if_skipped=self.run_if_skipped,
            for_each=self.for_each,
            item=self.item,
            max_parallel=self.max_parallel,
            on_failure=self.on_failure,
            steps=tuple(step.step(coordinator) for step in self.plan),
        )


class _Steps(BaseModel):
    model_config = ConfigDict(extra="ignore")
    steps: tuple[_Step, ...] = Field(min_length=1)


def read_steps(
    value: object, members: Collection[str], max_steps: int, coordinator: str = ""
) -> tuple[tuple[PlanStep, ...], list[str]]:
    """The steps in `{"steps": […]}` and everything that is wrong with them."""
    try:
        parsed = _Steps.model_validate(value)
    except ValidationError as error:
        found = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False)]
        return (), found[:MAX_PROBLEMS]
    steps = tuple(step.step(coordinator) for step in parsed.steps)
    return steps, check_steps(steps, members, max_steps)


def check_steps(
    steps: Sequence[PlanStep], members: Collection[str], max_steps: int, *, finished: Collection[str] = ()
) -> list[str]:
    """What rules a plan out: unknown agents or steps, cycles, references that cannot resolve, conditions that are none,
    too many steps. `finished` are steps that stand there already and may be referred to."""
    problems = [*_sizes(steps, max_steps), *_problems(steps, members, frozenset(finished), nesting=0)]
    return problems[:MAX_PROBLEMS]


def count_steps(steps: Sequence[PlanStep]) -> int:
    """With those of the plans within."""
    return sum(1 + count_steps(step.steps) for step in steps)


def has_list(steps: Sequence[PlanStep]) -> bool:
    """Whether a step, or one of a plan within, is done for each item of a list: lists of lists would have no end."""
    return any(step.for_each is not None or has_list(step.steps) for step in steps)


def _sizes(steps: Sequence[PlanStep], max_steps: int) -> Iterator[str]:
    count = count_steps(steps)
    if count > max_steps:
        yield f"{count} steps are more than the {max_steps} allowed"


def _problems(
    steps: Sequence[PlanStep], members: Collection[str], finished: frozenset[str], *, nesting: int
) -> Iterator[str]:
    ids = [step.id for step in steps]
    yield from (f"step id '{name}' is used twice" for name in sorted({name for name in ids if ids.count(name) > 1}))
    known = finished | set(ids)
    for step in steps:
        yield from _of_step(step, members, known)
        if step.steps and nesting >= MAX_NESTED_PLANS:
            yield f"step '{step.id}': plans stand {MAX_NESTED_PLANS} deep within each other at the most"
        elif step.steps:
            yield from _problems(step.steps, members, frozenset(), nesting=nesting + 1)
        if step.for_each is not None and has_list(step.steps):
            yield f"step '{step.id}': a plan that is done for each item of a list has no list of its own"
    try:
        TopologicalSorter({step.id: step.prerequisites for step in steps}).prepare()
    except CycleError as error:
        yield "the steps wait for each other: " + " → ".join(error.args[1])


def _of_step(step: PlanStep, members: Collection[str], known: Collection[str]) -> Iterator[str]:
    if not step.steps and step.agent not in members:
        yield f"step '{step.id}': '{step.agent}' is none of {', '.join(sorted(members))}"
    if _nesting(step.input) > MAX_NESTING or _nesting(step.for_each) > MAX_NESTING:
        yield f"step '{step.id}': the input is nested more than {MAX_NESTING} deep"
        return
    if _holds_nul(step):
        yield f"step '{step.id}' holds a NUL character"
    yield from (
        f"step '{step.id}' waits for '{name}', which is no step" for name in step.depends_on if name not in known
    )
    named = {*referred_steps(step.input, step.item_name), *referred_steps((step.when, step.for_each))}
    yield from (
        f"step '{step.id}' uses the output of '{name}', which is no step" for name in sorted(named - set(known))
    )
    lost = [*references_to_nothing(step.input, step.item_name), *references_to_nothing(step.for_each)]
    yield from (f"step '{step.id}': {reference} refers to nothing" for reference in lost)
    problem = None if step.when is None else problem_of(step.when)
    if problem is not None:
        yield f"step '{step.id}': {problem}"
    if isinstance(step.for_each, list | tuple) and len(step.for_each) > MAX_ITEMS:
        yield f"step '{step.id}': for_each has {len(step.for_each)} items, {MAX_ITEMS} are allowed"


def _nesting(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= MAX_NESTING:
        level = [inner for outer in level for inner in _inside(outer)]
        depth += 1
    return depth


def _inside(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def _holds_nul(step: PlanStep) -> bool:
    """No database column for JSON takes one."""
    return b"\\u0000" in orjson.dumps([step.input, step.for_each, step.when])
