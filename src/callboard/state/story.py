"""What happened under one trace id, as the records that the database has of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from callboard.state.clarifications import Clarification
from callboard.state.deliveries import Delivery
from callboard.state.finishing import StoredEvent
from callboard.state.runs import Run, RunError, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressLine:
    """One line of what a run did; `n` grows by one within the run."""

    run_id: str
    n: int
    kind: str
    data: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectRecord:
    """One tool call of a run: `attempting`, `done`, `failed`, or `unknown` for one whose attempt nobody is at any more
    (DESIGN.md, rule 6)."""

    run_id: str
    key: str
    tool: str
    status: str
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """One message of a run's checkpoint, as the engine wrote it."""

    run_id: str
    context_no: int
    n: int
    message: Any
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Everything that was recorded under a trace id, each list oldest first."""

    trace_id: str
    events: Sequence[StoredEvent] = ()
    runs: Sequence[Run] = ()
    errors: Mapping[str, RunError] | None = None
    effects: Sequence[EffectRecord] = ()
    messages: Sequence[MessageRecord] = ()
    progress: Sequence[ProgressLine] = ()
    clarifications: Sequence[Clarification] = ()
    deliveries: Sequence[Delivery] = ()

    @property
    def empty(self) -> bool:
        return not (self.events or self.runs or self.deliveries)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRun:
    """A run that an accepted event will start once it is routed (DESIGN.md, R4)."""

    run_id: str
    event_id: str
    trace_id: str
    agent: str
    accepted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs a list holds: all that are given must hold. `before` is the `seq` that the last page ended at."""

    tenant: str = "default"
    agent: str | None = None
    status: RunStatus | None = None
    trace_id: str | None = None
    parent_run_id: str | None = None
    before: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How many active runs there are of one status, mode and lane."""

    status: RunStatus
    mode: str
    lane: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """How much waits now: runs for a slot, by mode and lane, runs at work, by mode, dead letters for somebody, and
    since when the oldest event waits for the bus."""

    queued: Mapping[tuple[str, str], int]
    running: Mapping[str, int]
    dead_letters: int
    untold_since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSums:
    """What an agent's runs came to: how many of each status, and their cost and tokens together."""

    agent: str
    runs: Mapping[str, int]
    cost_usd: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One line of who did what."""

    id: int
    actor: Mapping[str, Any]
    action: str
    object: str
    details: Mapping[str, Any]
    created_at: datetime
