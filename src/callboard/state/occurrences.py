"""The ledger of occurrences: what became of every time that a schedule named."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from callboard.messaging.events import Event
from callboard.state.finishing import StoredEvent


class Overlap(StrEnum):
    """What becomes of an occurrence whose predecessor is still at work."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"


class OccurrenceStatus(StrEnum):
    """What was decided about a nominal time; a `fired` or `caught_up` one that is removed in the queue gets `skipped`.

    `fired`: on time. `caught_up`: late, by the misfire policy. `missed`: too late, by the misfire policy. `skipped`:
    paused, overlapping, or made up for by another.
    """

    FIRED = "fired"
    CAUGHT_UP = "caught_up"
    SKIPPED = "skipped"
    MISSED = "missed"

    @property
    def runs(self) -> bool:
        """Whether such an occurrence leads to a run."""
        return self in (OccurrenceStatus.FIRED, OccurrenceStatus.CAUGHT_UP)


class Phase(StrEnum):
    """How far an occurrence that runs has come; the others are closed from the start.

    `queued`: waits for its predecessor. `open`: its event is accepted, its run not known to have ended. `closed`: ended
    (entered when the next occurrence of the schedule looks, so an open one may have ended already).
    """

    QUEUED = "queued"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class OccurrenceDraft:
    """A decision that waits to be entered. `event` is there exactly when the status `runs`.

    `manual` occurrences were asked for by a person: neither pause nor overlap nor the position of the schedule counts.
    """

    schedule_id: str
    agent: str
    nominal_time: datetime
    status: OccurrenceStatus
    reason: str | None = None
    overlap: Overlap = Overlap.SKIP
    event: Event | None = None
    manual: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OccurrenceRecord:
    """A line of the ledger. `event_id`, `run_id` and `trace_id` are there from the moment the event was accepted."""

    schedule_id: str
    agent: str
    nominal_time: datetime
    decided_at: datetime
    status: OccurrenceStatus
    phase: Phase
    reason: str | None = None
    event_id: str | None = None
    run_id: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """What one transaction added to the ledger, and the events that have to go out on the bus now."""

    occurrences: tuple[OccurrenceRecord, ...] = ()
    events: tuple[StoredEvent, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRegistration:
    """A schedule that the catalog holds now. Other `time_keys` under a known id start it afresh."""

    schedule_id: str
    agent: str
    time_keys: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleState:
    """What the database knows of a schedule. Every nominal time up to `position` is decided."""

    schedule_id: str
    agent: str
    time_keys: str
    position: datetime
    paused: bool
