"""What becomes of the times that have passed since the last look: fire them, catch up, or let them go.

A time is on time when it is looked at within ON_TIME of being due, which leaves room for a tick that was lost until the
reconcile finds it. Every time that is on time fires. The later ones are misfires and go by the policy:

* `run_once`: one run makes up for all of them. Where a time is on time that is its run, else the newest misfire runs.
* `run_all`: each runs, the oldest first, but at most the CATCH_UP newest.
* `skip`: none runs; each is entered as missed.

However long the pause was, at most CATCH_UP decisions come out, and one more that stands for everything older.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from callboard.scheduler.schedule import Misfire, Schedule, latest_nominal_times, next_nominal_time
from callboard.state.occurrences import OccurrenceStatus

ON_TIME = timedelta(seconds=60)
CATCH_UP = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to become of one nominal time, as far as the clock alone can tell."""

    nominal_time: datetime
    status: OccurrenceStatus
    reason: str | None = None


def due(schedule: Schedule, last: datetime, now: datetime, policy: Misfire | None = None) -> list[Decision]:
    """Decides every nominal time in (last, now], rising; `policy` is the schedule's own unless another is given.

    `last` is the newest time that was decided before, or where the schedule began. Times after `now` are ignored, so
    a clock that went back decides nothing until it has passed `last` again.
    """
    if now <= last:
        return []
    until = now - schedule.delay
    times = latest_nominal_times(schedule, last, until, CATCH_UP + 1)
    if not times:
        return []
    older: list[Decision] = []
    if len(times) > CATCH_UP:
        older = [_beyond_the_bound(schedule, last, times[0])]
        times = times[1:]
    punctual = [time for time in times if until - time <= ON_TIME]
    late = times[: len(times) - len(punctual)]
    on_time = [Decision(nominal_time=time, status=OccurrenceStatus.FIRED) for time in punctual]
    return older + _misfires(late, punctual, until, policy or schedule.misfire) + on_time


def next_due(schedule: Schedule, last: datetime) -> datetime | None:
    """When `due` will next have something to decide."""
    nominal = next_nominal_time(schedule, last)
    return None if nominal is None else nominal + schedule.delay


def _misfires(late: list[datetime], punctual: list[datetime], until: datetime, policy: Misfire) -> list[Decision]:
    if not late:
        return []
    if policy is Misfire.RUN_ALL:
        return [_caught_up(time, until) for time in late]
    if policy is Misfire.SKIP:
        return [
            Decision(
                nominal_time=time,
                status=OccurrenceStatus.MISSED,
                reason=f"{_lateness(time, until)} late, and misfire is skip",
            )
            for time in late
        ]
    makes_up = punctual[0] if punctual else late[-1]
    passed = [
        Decision(
            nominal_time=time,
            status=OccurrenceStatus.SKIPPED,
            reason=f"{_lateness(time, until)} late; the run of {makes_up:%Y-%m-%dT%H:%M:%SZ} makes up for it",
        )
        for time in late
        if time != makes_up
    ]
    return passed if punctual else [*passed, _caught_up(makes_up, until)]


def _caught_up(time: datetime, until: datetime) -> Decision:
    return Decision(
        nominal_time=time,
        status=OccurrenceStatus.CAUGHT_UP,
        reason=f"{_lateness(time, until)} late: nobody was there to fire it",
    )


def _beyond_the_bound(schedule: Schedule, last: datetime, newest: datetime) -> Decision:
    oldest = next_nominal_time(schedule, last) or newest
    return Decision(
        nominal_time=newest,
        status=OccurrenceStatus.MISSED,
        reason=f"stands for every time from {oldest:%Y-%m-%dT%H:%M:%SZ} on: only the {CATCH_UP} newest are looked at",
    )


def _lateness(time: datetime, until: datetime) -> str:
    return str(timedelta(seconds=int((until - time).total_seconds())))
