"""Plans: the graph of steps of a collaborative run, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class StepStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One node: which member does it, with which input, after which others."""

    id: str
    agent: str
    input: Any
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A goal and the steps towards it; `origin` says whether a file or the planner wrote it."""

    goal: str
    origin: str
    steps: tuple[PlanStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    status: StepStatus = StepStatus.PENDING
    run_id: str | None = None
    output: Any = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRunState:
    """How far a plan has come; `version` grows by one with each save and is what a save is compared with."""

    run_id: str
    version: int = 0
    status: str = "running"
    steps: dict[str, StepState] = field(default_factory=dict)
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDraft:
    """A plan that is written for the first time; writing it again changes nothing."""

    run_id: str
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStateSave:
    """The next plan run state; refused with VersionConflictError unless the stored version is `expected`."""

    state: PlanRunState
    expected: int
