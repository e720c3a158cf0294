"""What a pool writes when it lets go of a run: one record, one transaction (DESIGN.md, rule 5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from callboard.messaging.events import Event
from callboard.state.agent_state import StateSave
from callboard.state.clarifications import QuestionDraft
from callboard.state.pausing import PATIENCE
from callboard.state.plans import PlanDraft, PlanStateSave
from callboard.state.runs import RunDraft, RunError, RunStatus, Usage, WaitingKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildDraft:
    """A step's run and the event that it belongs to; the event is never routed again."""

    event: Event
    run: RunDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressDraft:
    """One line of what a run did, for the people who watch it."""

    kind: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The end of one claim of one run, refused as a whole unless the run is running under `fencing`.

    `status` is terminal, WAITING (with `waiting_kind`, and a `question` or `children`) or QUEUED (to be claimed again
    from `available_at` on). `failure` counts a failed attempt; `fresh_context` starts the next one without the
    checkpoint. `absorbed` are the children whose end the plan state already contains: if another has ended meanwhile,
    the run does not wait. `consumed` is the clarification whose answer this claim used. `cost_known` is false where
    nobody knows what a model call has cost, as that of a run that was stopped in the middle of one: what was reserved
    for it counts as spent. One that `pauses` waits until `available_at`, counted from `waiting_since`, the beginning
    of its series, for as long as `patience` lasts; its `error` says for what.
    """

    run_id: str
    fencing: int
    status: RunStatus
    now: datetime
    output: Any = None
    error: RunError | None = None
    usage: Usage = Usage()  # noqa: RUF009  # frozen
    cost_usd: float = 0.0
    cost_known: bool = True
    available_at: datetime | None = None
    failure: bool = False
    fresh_context: bool = False
    messages: tuple[Any, ...] = ()
    waiting_kind: WaitingKind | None = None
    waiting_since: datetime | None = None
    patience: timedelta = PATIENCE
    question: QuestionDraft | None = None
    children: tuple[ChildDraft, ...] = ()
    absorbed: frozenset[str] = frozenset()
    plan: PlanDraft | None = None
    plan_state: PlanStateSave | None = None
    state: StateSave | None = None
    progress: tuple[ProgressDraft, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def pauses(self) -> bool:
        """Whether the run waits for a time and not for a record."""
        return (
            self.status is RunStatus.WAITING
            and self.waiting_kind in (WaitingKind.PROVIDER, WaitingKind.BUDGET)
            and self.question is None
            and self.available_at is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event with its place in the order of acceptance."""

    seq: int
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequences:
    """What is to be told once a transaction has committed: events, and topics to wake. Losing it costs a poll."""

    events: tuple[StoredEvent, ...] = ()
    wakes: frozenset[str] = frozenset()

    def plus(self, other: Consequences) -> Consequences:
        return Consequences(events=self.events + other.events, wakes=self.wakes | other.wakes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a settlement: None where another owner holds the run by now."""

    status: RunStatus | None
    consequences: Consequences = Consequences()
