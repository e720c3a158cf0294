"""From a decision to what is entered in the ledger and what goes out as an event: pure, the same on every machine."""

from __future__ import annotations

from datetime import datetime

from callboard.ids import derive_id
from callboard.messaging import topology
from callboard.messaging.events import Actor, Event, EventPriority, EventType
from callboard.scheduler.misfire import Decision
from callboard.scheduler.schedule import Schedule
from callboard.state.occurrences import OccurrenceDraft, OccurrenceRecord, OccurrenceStatus

MANUAL = "manual"
"""The `occurrence` of an event that a person asked for."""


def draft_of(schedule: Schedule, decision: Decision, now: datetime) -> OccurrenceDraft:
    """The decision with its event, if it is one that runs."""
    runs = decision.status.runs
    return OccurrenceDraft(
        schedule_id=schedule.schedule_id,
        agent=schedule.agent,
        nominal_time=decision.nominal_time,
        status=decision.status,
        reason=decision.reason,
        overlap=schedule.overlap,
        event=event_of(schedule, decision.nominal_time, decision.status.value, now) if runs else None,
    )


def manual_draft_of(schedule: Schedule, now: datetime, actor: Actor) -> OccurrenceDraft:
    """An occurrence of its own, beside the times of the schedule."""
    return OccurrenceDraft(
        schedule_id=schedule.schedule_id,
        agent=schedule.agent,
        nominal_time=now,
        status=OccurrenceStatus.FIRED,
        reason=f"asked for by {actor.kind} {actor.id}",
        overlap=schedule.overlap,
        event=event_of(schedule, now, MANUAL, now, actor),
        manual=True,
    )


def release_draft_of(schedule: Schedule | None, waiting: OccurrenceRecord, now: datetime) -> OccurrenceDraft:
    """What starts a queued occurrence; without its schedule it cannot start."""
    event = None if schedule is None else event_of(schedule, waiting.nominal_time, waiting.status.value, now)
    waited = int((now - waiting.decided_at).total_seconds())
    return OccurrenceDraft(
        schedule_id=waiting.schedule_id,
        agent=waiting.agent,
        nominal_time=waiting.nominal_time,
        status=waiting.status,
        reason="the schedule was removed while it waited" if event is None else f"waited {waited} s for the run before",
        event=event,
    )


def event_of(
    schedule: Schedule, nominal_time: datetime, occurrence: str, now: datetime, actor: Actor | None = None
) -> Event:
    """The event of one nominal time: its ids follow from the schedule and the time alone (DESIGN.md, R3)."""
    nominal = nominal_time.isoformat()
    event_id = derive_id("scheduled", schedule.schedule_id, nominal)
    return Event(
        event_id=event_id,
        event_type=EventType.SCHEDULED_TASK,
        topic=topology.scheduled(schedule.agent),
        timestamp=now,
        trace_id=derive_id("trace", event_id),
        actor=actor or Actor(kind="schedule", id=schedule.schedule_id, via="scheduler"),
        payload={
            "text": schedule.input,
            "schedule_id": schedule.schedule_id,
            "nominal_time": nominal,
            "deliver_to": schedule.deliver_to,
            "occurrence": occurrence,
        },
        priority=EventPriority.LOW if actor is None else EventPriority.NORMAL,
    )
