"""Plans: the graph of steps of a collaborative run, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Self

from callboard.state.plan_references import referred_steps

OnFailure = Literal["stop", "continue", "revise"]
"""What a step that did not succeed means: the plan ends, goes on without its output, or the planner makes another."""
MAX_ITEMS = 100
"""So many items may the list of one step have."""
MAX_PARALLEL = 10
"""So many runs of one step's items are under way at once, unless the step says otherwise."""
MAX_NESTED_PLANS = 3
"""So deep may plans stand within the steps of plans."""


class StepStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def ended(self) -> bool:
        return self not in (StepStatus.PENDING, StepStatus.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One node: which member does it, with which input, after which others.

    `when` is a condition (plan_conditions); where it is false the step is skipped, and so is what depends on it, unless
    that says `run_if_skipped`. With `for_each`, a list or a reference to one, it is done once for each item, called
    `item`, by at most `max_parallel` runs at once. With `steps` it is a plan of its own, carried out by a run of the
    coordinator, which is then its `agent`. Without `on_failure` the plan's rule holds.
    """

    id: str
    agent: str
    input: Any
    depends_on: tuple[str, ...] = ()
    when: str | None = None
    run_if_skipped: bool = False
    for_each: Any = None
    item: str = "item"
    max_parallel: int = MAX_PARALLEL
    on_failure: OnFailure | None = None
    steps: tuple[PlanStep, ...] = ()

    @property
    def item_name(self) -> str | None:
        """What `${…}` in the input calls an item, None for a step that is done once."""
        return None if self.for_each is None else self.item

    @property
    def prerequisites(self) -> frozenset[str]:
        """The steps that must have ended before: those that it names and those that it refers to."""
        referred = referred_steps(self.input, self.item_name)
        return frozenset((*self.depends_on, *referred, *referred_steps((self.when, self.for_each))))

    def to_record(self) -> dict[str, Any]:
        """As JSON; what is as usual is left out."""
        record: dict[str, Any] = {
            "id": self.id,
            "agent": self.agent,
            "input": self.input,
            "depends_on": list(self.depends_on),
        }
        for name in ("when", "run_if_skipped", "for_each", "max_parallel", "on_failure"):
            value = getattr(self, name)
            if value != _USUAL[name]:
                record[name] = value
        if self.for_each is not None:
            record["as"] = self.item
        if self.steps:
            record["plan"] = [step.to_record() for step in self.steps]
        return record

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(
            id=record["id"],
            agent=record["agent"],
            input=record["input"],
            depends_on=tuple(record["depends_on"]),
            item=record.get("as", "item"),
            steps=tuple(cls.of_record(step) for step in record.get("plan", ())),
            **{name: record[name] for name in _USUAL if name in record},
        )


_USUAL: dict[str, Any] = {
    "when": None,
    "run_if_skipped": False,
    "for_each": None,
    "max_parallel": MAX_PARALLEL,
    "on_failure": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A goal and the steps towards it; `origin` says whether a file or the planner wrote it.

    `revision` counts from 0 how often it was changed. `aggregate` says what its result is: `last`, `all`, the id of the
    step that puts the others' outputs together (`step:ID`), or None for what the plan's form suggests.
    """

    goal: str
    origin: str
    steps: tuple[PlanStep, ...]
    revision: int = 0
    aggregate: str | None = None

    def step(self, name: str) -> PlanStep | None:
        return next((step for step in self.steps if step.id == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """How far a step is. One that is done for each item of a list has the state of each in `items`, in their order."""

    status: StepStatus = StepStatus.PENDING
    run_id: str | None = None
    output: Any = None
    error: str | None = None
    items: tuple[StepState, ...] | None = None

    def with_item(self, index: int, item: StepState) -> StepState:
        items = self.items or ()
        return replace(self, items=(*items[:index], item, *items[index + 1 :]))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRunState:
    """How far a plan has come; `version` grows by one with each save and is what a save is compared with.

    `status` is running, asking (a changed plan is to be approved), succeeded or failed. `past` are ended runs of steps
    that a revision has taken out.
    """

    run_id: str
    version: int = 0
    status: str = "running"
    steps: dict[str, StepState] = field(default_factory=dict)
    past: tuple[str, ...] = ()
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDraft:
    """A plan, or a revision of it with its reason, that is written for the first time; writing it again changes
    nothing."""

    run_id: str
    plan: Plan
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStateSave:
    """The next plan run state; refused with VersionConflictError unless the stored version is `expected`."""

    state: PlanRunState
    expected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRevision:
    """A plan as it was changed, and why."""

    plan: Plan
    reason: str
    created_at: datetime
