"""Runs: the records, and the one table of how a run's status may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from callboard.errors import ConflictError
from callboard.messaging.events import Actor, EventPriority
from callboard.messaging.reply import ReplyTo
from callboard.state.replays import Variant


class RunStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"

    @property
    def terminal(self) -> bool:
        return not TRANSITIONS[self]


TRANSITIONS: Mapping[RunStatus, frozenset[RunStatus]] = MappingProxyType(
    {
        RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.CANCELLED, RunStatus.FAILED}),
        RunStatus.RUNNING: frozenset(
            {
                RunStatus.QUEUED,
                RunStatus.WAITING,
                RunStatus.SUCCEEDED,
                RunStatus.FAILED,
                RunStatus.CANCELLED,
                RunStatus.TIMED_OUT,
            }
        ),
        RunStatus.WAITING: frozenset({RunStatus.QUEUED, RunStatus.CANCELLED, RunStatus.FAILED, RunStatus.TIMED_OUT}),
        RunStatus.SUCCEEDED: frozenset(),
        RunStatus.FAILED: frozenset(),
        RunStatus.CANCELLED: frozenset(),
        RunStatus.TIMED_OUT: frozenset(),
    }
)


def check_transition(before: RunStatus, after: RunStatus) -> None:
    """Raises ConflictError where the table has no such step."""
    if after not in TRANSITIONS[before]:
        raise ConflictError(f"a run that is {before} cannot become {after}", code="illegal_transition")


class Lane(StrEnum):
    """Interactive work is claimed first; batch work only while more slots are free than the reserve."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


RANKS: Mapping[EventPriority, int] = MappingProxyType(
    {EventPriority.CRITICAL: 0, EventPriority.HIGH: 1, EventPriority.NORMAL: 2, EventPriority.LOW: 3}
)
"""Lower is claimed sooner. The last one is the batch lane."""


class WaitingKind(StrEnum):
    CLARIFICATION = "clarification"
    APPROVAL = "approval"
    BUDGET = "budget"
    PROVIDER = "provider"
    STEPS = "steps"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingFor:
    """Why a run holds no slot: the kind, the record it waits on and since when."""

    kind: WaitingKind
    id: str | None
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """Why a run did not succeed: a stable code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens that models were asked to read and write."""

    input_tokens: int = 0
    output_tokens: int = 0

    def plus(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens, output_tokens=self.output_tokens + other.output_tokens
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """How a run enters the queue: its lane and rank, the key it takes turns on, and the places it shares."""

    lane: Lane
    rank: int
    order_key: str | None = None
    place_key: str | None = None
    places: int | None = None

    @classmethod
    def of_caused(cls, agent: str, lane: Lane, *, places: int | None, order_key: str | None = None) -> Admission:
        """Of a run that another run causes: in the lane of that one, at the rank which is usual there. `places` are the
        agent's, None without a limit."""
        usual = EventPriority.LOW if lane is Lane.BATCH else EventPriority.NORMAL
        place = agent_place_key(agent, places)
        return cls(lane=lane, rank=RANKS[usual], order_key=order_key, place_key=place, places=places)


def agent_place_key(agent: str, places: int | None) -> str | None:
    """What the runs of an agent with so many places share; None for one without a limit."""
    return None if places is None else f"agent:{agent}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDraft:
    """A run that is about to be written; its id follows from the event and the agent (DESIGN.md, R2)."""

    run_id: str
    event_id: str
    trace_id: str
    tenant: str
    agent: str
    agent_version: int
    catalog: int
    mode: str
    admission: Admission
    max_attempts: int
    timeout_seconds: float
    actor: Actor
    input: Any
    hops: int = 0
    depth: int = 0
    conversation_id: str | None = None
    reply_to: ReplyTo | None = None
    parent_run_id: str | None = None
    root_run_id: str | None = None
    step_id: str | None = None
    on_busy: str = "queue"
    origin_run_id: str | None = None
    dry: bool = False
    variant: Variant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as the database has it. `fencing` grows with every claim; a write under an older number is dropped.

    A `dry` run does nothing in the world; with a `variant` it replays another one, or a step of one.
    """

    seq: int
    run_id: str
    tenant: str
    event_id: str
    trace_id: str
    agent: str
    agent_version: int
    catalog: int
    mode: str
    lane: Lane
    status: RunStatus
    attempt: int
    failures: int
    max_attempts: int
    context_no: int
    lease_losses: int
    fencing: int
    conversation_id: str | None
    order_key: str | None
    parent_run_id: str | None
    root_run_id: str | None
    step_id: str | None
    depth: int
    hops: int
    timeout_seconds: float
    actor: Actor
    reply_to: ReplyTo | None
    waiting_for: WaitingFor | None
    cancel_requested: bool
    created_at: datetime
    available_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cost_usd: float
    usage: Usage
    origin_run_id: str | None = None
    cost_estimated: bool = False
    dry: bool = False
    variant: Variant | None = None

    @property
    def suspect(self) -> bool:
        """Whether the run may be what takes its processes down."""
        return self.lease_losses >= SUSPECT_LOSSES

    @property
    def root(self) -> str:
        """The run that a person asked for: this one, or the one whose plan it is a step of."""
        return self.root_run_id or self.run_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedRun:
    """A run that a process owns from now on, with what it is to work on."""

    run: Run
    input: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What came of a run; `output` and `error` are empty until it ended."""

    run: Run
    input: Any
    output: Any
    error: RunError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """A pool's free places: `batch_slots` of the `slots` may go to the batch lane, one to a suspect if allowed.

    Runs of `closed_agents` are left to the other processes.
    """

    mode: str
    process_id: str
    token: str
    slots: int
    batch_slots: int
    suspect: bool
    now: datetime
    closed_agents: frozenset[str] = frozenset()


SUSPECT_LOSSES = 2
"""From so many lost owners on a run is a suspect: a process works on one of them at a time. One loss proves nothing:
all that was under way has it, and would come back one by one (docs/decisions/0005-suspects.md)."""

MAX_LEASE_LOSSES = 3
"""So many owners may a run lose; with the next one it ends as `failed` with `worker_lost` (DESIGN.md, R15)."""
