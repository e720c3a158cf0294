"""When an agent is to run: the schedule, its identity, and the instants it names.

Times of a cron expression over a change of the clocks (the policy, tested by RELIABILITY.md F1):

* An expression at **fixed times** (neither its minute nor its hour field starts with `*` or names every value; so
  `30 2 * * *`, `0 9 * * MON-FRI`) means a time of day. One that falls in a gap fires once, at the end of the gap;
  one that comes twice fires the first time only. Several times in one gap fire once together.
* Every other expression (`0 * * * *`, `*/15 * * * *`, `*/5 2 * * *`) follows the clock on the wall: each instant whose
  local time matches fires, so an hourly schedule goes on every hour through both changes, a local time that does
  not exist is left out, and one that comes twice fires twice.

These are Debian cron's rules, which cronsim follows too; cronsim is used here on wall time without a zone, since over a
change of half an hour (Australia/Lord_Howe) its own zone arithmetic can step over a matching time. Celery's crontab
loses an hourly tick in autumn (RELIABILITY.md, finding 7).

Interval ticks are the multiples of the interval since 1970-01-01T00:00Z: no restart shifts them and no zone matters.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from itertools import chain, count, islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from callboard.config.definition import AgentDefinition
from callboard.errors import InvalidInputError
from callboard.ids import derive_id
from callboard.state.occurrences import Overlap

SECOND = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PROBE = timedelta(days=7)
"""No zone changes its clocks twice within this."""
_EVERY_MINUTE, _EVERY_HOUR = frozenset(range(60)), frozenset(range(24))


class Misfire(StrEnum):
    """What becomes of times that passed while nobody was there to fire them."""

    RUN_ONCE = "run_once"
    RUN_ALL = "run_all"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One entry of an agent's `schedules`, checked.

    `schedule_id` is unique over all agents and survives edits of everything but the time keys, unless the user named
    it. `spread_seconds` delays each firing by a share of that span, fixed by the identity, so that many schedules
    of one minute do not meet; nominal times stay what they are.
    """

    schedule_id: str
    agent: str
    cron: str | None = None
    interval_seconds: int | None = None
    timezone: str = "UTC"
    input: str = ""
    misfire: Misfire = Misfire.RUN_ONCE
    overlap: Overlap = Overlap.SKIP
    deliver_to: str | None = None
    spread_seconds: int = 0

    def __post_init__(self) -> None:
        check_time_keys(self.cron, self.interval_seconds, self.timezone)

    @property
    def time_keys(self) -> str:
        """A digest that changes exactly when the times may change."""
        return derive_id("time keys", self.cron or "", self.interval_seconds or 0, self.timezone)[:12]

    @property
    def delay(self) -> timedelta:
        """How long after its nominal time an occurrence is due."""
        if self.spread_seconds == 0:
            return timedelta()
        return timedelta(seconds=int(derive_id("spread", self.schedule_id), 16) % (self.spread_seconds + 1))

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


def schedule_id_of(agent: str, cron: str | None, interval_seconds: int | None, timezone: str, name: str | None) -> str:
    """`agent.name`, or `agent.` and the digest of the time keys where the user gave no name (DESIGN.md, R29)."""
    return f"{agent}.{name or derive_id('time keys', cron or '', interval_seconds or 0, timezone)[:12]}"


def schedules_of(definition: AgentDefinition) -> tuple[Schedule, ...]:
    """The schedules of an agent, in the file's order; a second one with the same identity gets `-2`, and so on.

    Raises InvalidInputError for a schedule whose times cannot be computed although its file was accepted.
    """
    found: dict[str, Schedule] = {}
    for settings in definition.schedules:
        first = schedule_id_of(
            definition.name, settings.cron, settings.interval_seconds, settings.timezone, settings.id
        )
        schedule_id = next(name for name in chain([first], (f"{first}-{n}" for n in count(2))) if name not in found)
        found[schedule_id] = Schedule(
            schedule_id=schedule_id,
            agent=definition.name,
            cron=settings.cron,
            interval_seconds=settings.interval_seconds,
            timezone=settings.timezone,
            input=settings.input,
            misfire=Misfire(settings.misfire),
            overlap=Overlap(settings.overlap),
            deliver_to=settings.deliver_to,
            spread_seconds=settings.spread_seconds,
        )
    return tuple(found.values())


def check_time_keys(cron: str | None, interval_seconds: int | None, timezone: str) -> None:
    """Raises InvalidInputError naming the key, the value and what to write instead."""
    if (cron is None) == (interval_seconds is None):
        raise InvalidInputError("a schedule takes either cron or interval_seconds, exactly one", field="cron")
    if interval_seconds is not None and interval_seconds < 1:
        raise InvalidInputError(
            f"interval_seconds is {interval_seconds}; write a whole number from 1", field="interval_seconds"
        )
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise InvalidInputError(
            f"unknown timezone {timezone!r}; write an IANA name such as Europe/Berlin", field="timezone"
        ) from None
    if cron is not None:
        check_cron(cron)


def check_cron(cron: str) -> None:
    """Raises InvalidInputError for an expression that cannot be read or never comes true."""
    try:
        next(CronSim(cron, _EPOCH))
    except (CronSimError, StopIteration) as error:
        reason = str(error) or "no date matches it"
        raise InvalidInputError(
            f"cron {cron!r}: {reason}; write minute hour day month weekday, such as '0 9 * * MON-FRI'", field="cron"
        ) from None


def nominal_times(schedule: Schedule, after: datetime, until: datetime, limit: int) -> list[datetime]:
    """The first `limit` nominal times in (after, until], rising, aware and in UTC."""
    return list(islice(takewhile(lambda instant: instant <= until, times_after(schedule, after)), limit))


def latest_nominal_times(schedule: Schedule, after: datetime, until: datetime, limit: int) -> list[datetime]:
    """The last `limit` nominal times in (after, until], rising; costs about what it returns, however long the span."""
    first = nominal_times(schedule, after, until, limit + 1)
    if len(first) <= limit:
        return first
    span = timedelta(minutes=2)
    while True:
        start = max(after, until - span)
        found = list(takewhile(lambda instant: instant <= until, times_after(schedule, start)))
        if len(found) >= limit or start == after:
            return found[-limit:]
        span *= 2


def next_nominal_time(schedule: Schedule, after: datetime) -> datetime | None:
    """The first nominal time after that instant, or None where none is left in the next 50 years."""
    return next(times_after(schedule, after), None)


def times_after(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """Every nominal time after that instant, rising, without end for intervals."""
    after = after.astimezone(UTC)
    if schedule.interval_seconds is not None:
        return _interval_times(timedelta(seconds=schedule.interval_seconds), after)
    cron = schedule.cron or ""
    if names_fixed_times(cron):
        return _fixed_times(cron, schedule.zone, after)
    return _wall_clock_times(cron, schedule.zone, after)


@lru_cache(maxsize=4096)
def names_fixed_times(cron: str) -> bool:
    """Whether the expression means times of day (and not a beat), which decides what a change of the clocks does."""
    parsed = CronSim(cron, _EPOCH)
    second, minute, hour = parsed.parts[:3]
    return not (
        second.startswith("*")
        or minute.startswith("*")
        or hour.startswith("*")
        or parsed.minutes == _EVERY_MINUTE
        or parsed.hours == _EVERY_HOUR
    )


def offset_at(instant: datetime, zone: tzinfo) -> timedelta:
    """Local time minus UTC."""
    return instant.astimezone(zone).utcoffset() or timedelta()


def change_between(zone: tzinfo, low: datetime, high: datetime) -> datetime:
    """The first second at which the offset is no longer what it is at `low`, given that it differs at `high`."""
    before = offset_at(low, zone)
    while high - low > SECOND:
        middle = low + SECOND * ((high - low) // SECOND // 2)
        if offset_at(middle, zone) == before:
            low = middle
        else:
            high = middle
    return high


def instant_of(wall: datetime, zone: tzinfo) -> datetime:
    """The first instant of a local time; for one that a change of the clocks left out, the end of the gap."""
    instant = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    return change_between(zone, wall.replace(tzinfo=zone, fold=1).astimezone(UTC), instant)


def wall_at(instant: datetime, zone: tzinfo) -> datetime:
    """What the clock on the wall shows, without a zone."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def wall_times(cron: str, low: datetime, high: datetime) -> list[datetime]:
    """The local times in [low, high) that match, zones aside."""
    return list(takewhile(lambda wall: wall < high, CronSim(cron, low - SECOND)))


def _interval_times(interval: timedelta, after: datetime) -> Iterator[datetime]:
    tick = _EPOCH + ((after - _EPOCH) // interval + 1) * interval
    while True:
        yield tick
        tick += interval


def _fixed_times(cron: str, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    last = after
    for wall in CronSim(cron, wall_at(after, zone)):
        instant = instant_of(wall, zone)
        if instant > last:
            yield instant
            last = instant


def _wall_clock_times(cron: str, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    start: datetime | None = after.replace(microsecond=0) + SECOND
    while start is not None:
        start = yield from _times_of_one_offset(cron, zone, start)


def _times_of_one_offset(cron: str, zone: tzinfo, start: datetime) -> Generator[datetime, None, datetime | None]:
    """From `start` on until the clocks change; returns the instant of the change, or None when no time is left."""
    offset = offset_at(start, zone)
    unchanged_until, change = start, None
    for wall in CronSim(cron, wall_at(start, zone) - SECOND):
        instant = wall.replace(tzinfo=UTC) - offset
        while change is None and unchanged_until <= instant:
            probe = unchanged_until + _PROBE
            if offset_at(probe, zone) == offset:
                unchanged_until = probe
            else:
                change = change_between(zone, unchanged_until, probe)
                break
        if change is not None and instant >= change:
            return change
        yield instant
    return None
