"""The ledger of occurrences: what became of every time that a schedule named."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from callboard.messaging.events import Event


class Overlap(StrEnum):
    """What becomes of an occurrence whose predecessor is still at work."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"


class OccurrenceStatus(StrEnum):
    """How a nominal time ended up; `queued` alone may still change, to what it was decided as.

    `fired`: on time. `caught_up`: late, by the misfire policy. `missed`: too late, by the misfire policy. `skipped`:
    paused, overlapping, or made up for by another. `queued`: waits for its predecessor to end.
    """

    FIRED = "fired"
    CAUGHT_UP = "caught_up"
    SKIPPED = "skipped"
    MISSED = "missed"
    QUEUED = "queued"

    @property
    def runs(self) -> bool:
        """Whether an occurrence that ended up so has caused an event."""
        return self in (OccurrenceStatus.FIRED, OccurrenceStatus.CAUGHT_UP)


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
    """A line of the ledger. `run_id` is the run that the event leads to, there from the moment it was accepted."""

    schedule_id: str
    agent: str
    nominal_time: datetime
    decided_at: datetime
    status: OccurrenceStatus
    reason: str | None
    event_id: str | None
    run_id: str | None
    trace_id: str | None


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
    position: datetime
    paused: bool
