"""The next times of a schedule as a person wants to see them, with what the changes of the clocks do to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from callboard.scheduler.schedule import (
    Schedule,
    change_between,
    names_fixed_times,
    offset_at,
    times_after,
    wall_at,
    wall_times,
)

NAMED = 4
"""A note names at most so many local times."""
_LOOK_AHEAD = timedelta(days=366)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewLine:
    """One coming time: `local` in the schedule's zone, `utc` the same instant, `note` what is odd about it."""

    local: datetime
    utc: datetime
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockChange:
    """At this instant the local time jumps from `before` to `after`, both without a zone."""

    instant: datetime
    before: datetime
    after: datetime

    @property
    def forward(self) -> bool:
        return self.after > self.before

    @property
    def text(self) -> str:
        direction = "forward" if self.forward else "back"
        return f"clocks go {direction} on {self.before:%Y-%m-%d} from {self.before:%H:%M} to {self.after:%H:%M}"


def preview(schedule: Schedule, start: datetime, count: int) -> list[PreviewLine]:
    """The first `count` times after `start`."""
    zone = schedule.zone
    lines: list[PreviewLine] = []
    previous = start.astimezone(UTC)
    for instant in islice(times_after(schedule, previous), count):
        notes = [_change_note(schedule, instant, change) for change in clock_changes(zone, previous, instant)]
        notes.append(_twice_note(schedule, instant, zone))
        lines.append(
            PreviewLine(local=instant.astimezone(zone), utc=instant, note="; ".join(filter(None, notes)) or None)
        )
        previous = instant
    return lines


def clock_changes(zone: ZoneInfo, after: datetime, until: datetime) -> list[ClockChange]:
    """Every change of the zone's offset in (after, until], at most those of one year."""
    found: list[ClockChange] = []
    low, end = after, min(until, after + _LOOK_AHEAD)
    while low < end:
        high = min(low + timedelta(days=7), end)
        if offset_at(low, zone) != offset_at(high, zone):
            instant = change_between(zone, low, high)
            before = (instant + offset_at(low, zone)).replace(tzinfo=None)
            found.append(ClockChange(instant=instant, before=before, after=wall_at(instant, zone)))
            low = instant
        else:
            low = high
    return found


def _change_note(schedule: Schedule, instant: datetime, change: ClockChange) -> str | None:
    """What a change just before this time, or at it, moved or removed."""
    if schedule.cron is None:
        return f"{change.text}: the local time moves, the interval stays"
    if not change.forward:
        return None
    lost = wall_times(schedule.cron, change.before, change.after)
    if not lost:
        return None
    shown = ", ".join(f"{wall:%H:%M}" for wall in lost[:NAMED])
    named = shown if len(lost) <= NAMED else f"{shown} and {len(lost) - NAMED} more"
    missing = f"{change.text}: {named} {'does' if len(lost) == 1 else 'do'} not exist"
    if not names_fixed_times(schedule.cron):
        return f"{missing} and {'is' if len(lost) == 1 else 'are'} left out"
    return f"{missing}, fires at {change.after:%H:%M}" if instant == change.instant else None


def _twice_note(schedule: Schedule, instant: datetime, zone: ZoneInfo) -> str | None:
    """Whether the local time of this instant comes twice, and which of the two this is."""
    wall = wall_at(instant, zone)
    first = wall.replace(tzinfo=zone, fold=0)
    second = wall.replace(tzinfo=zone, fold=1)
    if schedule.cron is None or (first.utcoffset() or timedelta()) <= (second.utcoffset() or timedelta()):
        return None
    if names_fixed_times(schedule.cron):
        return f"clocks go back: {wall:%H:%M} comes twice, fires the first time only"
    which = "first" if first.astimezone(UTC) == instant else "second"
    return f"clocks go back: {wall:%H:%M} comes twice, this is the {which}"
