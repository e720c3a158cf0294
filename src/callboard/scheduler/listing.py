"""What the API and the command line show of a schedule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from callboard.scheduler.schedule import Schedule
from callboard.state.occurrences import OccurrenceRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleListing:
    """A schedule with what is to come and what came last. `next_times` is empty while it is paused."""

    schedule: Schedule
    paused: bool
    next_times: tuple[datetime, ...]
    last_occurrence: OccurrenceRecord | None

    def to_record(self) -> dict[str, object]:
        """As JSON shows it; times in UTC."""
        schedule = self.schedule
        last = self.last_occurrence
        return {
            "agent": schedule.agent,
            "id": schedule.schedule_id,
            "cron": schedule.cron,
            "interval_seconds": schedule.interval_seconds,
            "timezone": schedule.timezone,
            "input": schedule.input,
            "misfire": schedule.misfire.value,
            "overlap": schedule.overlap.value,
            "deliver_to": schedule.deliver_to,
            "paused": self.paused,
            "next_times": [shown(time) for time in self.next_times],
            "last_occurrence": None if last is None else occurrence_record(last),
        }


def occurrence_record(occurrence: OccurrenceRecord) -> dict[str, object]:
    """A line of the history as JSON shows it."""
    return {
        "schedule_id": occurrence.schedule_id,
        "agent": occurrence.agent,
        "nominal_time": shown(occurrence.nominal_time),
        "decided_at": shown(occurrence.decided_at),
        "status": occurrence.status.value,
        "phase": occurrence.phase.value,
        "reason": occurrence.reason,
        "event_id": occurrence.event_id,
        "task_id": occurrence.run_id,
        "trace_id": occurrence.trace_id,
    }


def shown(instant: datetime) -> str:
    """RFC 3339 with a Z."""
    return instant.isoformat().replace("+00:00", "Z")
