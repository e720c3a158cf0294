"""What becomes of the times that passed since the last look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.scheduler.misfire import CATCH_UP, ON_TIME, due, next_due
from callboard.scheduler.schedule import Misfire, nominal_times
from callboard.state.occurrences import OccurrenceStatus
from tests.unit.scheduler.making import cron, every, utc

FIRED, CAUGHT_UP = OccurrenceStatus.FIRED, OccurrenceStatus.CAUGHT_UP
SKIPPED, MISSED = OccurrenceStatus.SKIPPED, OccurrenceStatus.MISSED
FRIDAY = utc("2026-03-06T09:00")


def statuses(policy: Misfire, now: str, expression: str = "0 9 * * *") -> list[OccurrenceStatus]:
    return [decision.status for decision in due(cron(expression, misfire=policy), FRIDAY, utc(now))]


def test_a_time_that_just_came_fires() -> None:
    (decision,) = due(cron("0 9 * * *"), FRIDAY, utc("2026-03-07T09:00:00"))
    assert (decision.nominal_time, decision.status) == (utc("2026-03-07T09:00"), FIRED)


def test_before_its_time_nothing_is_due() -> None:
    assert due(cron("0 9 * * *"), FRIDAY, utc("2026-03-07T08:59:59")) == []


def test_after_a_weekend_run_once_catches_up_with_the_newest_alone() -> None:
    assert statuses(Misfire.RUN_ONCE, "2026-03-09T15:00") == [SKIPPED, SKIPPED, CAUGHT_UP]


def test_run_once_lets_a_run_that_is_on_time_make_up_for_the_missed_ones() -> None:
    assert statuses(Misfire.RUN_ONCE, "2026-03-09T09:00:20") == [SKIPPED, SKIPPED, FIRED]


def test_after_a_weekend_run_all_catches_up_with_each() -> None:
    assert statuses(Misfire.RUN_ALL, "2026-03-09T09:00:20") == [CAUGHT_UP, CAUGHT_UP, FIRED]


def test_after_a_weekend_skip_enters_them_as_missed() -> None:
    assert statuses(Misfire.SKIP, "2026-03-09T15:00") == [MISSED, MISSED, MISSED]


def test_F2_after_a_suspend_of_ten_minutes_a_schedule_of_every_minute_does_not_storm() -> None:
    minutely = cron("* * * * *", misfire=Misfire.RUN_ONCE)
    found = due(minutely, utc("2026-03-07T10:00"), utc("2026-03-07T10:10:30"))
    assert [d.status for d in found] == [SKIPPED] * 9 + [FIRED]


def test_F2_a_year_away_gives_a_bounded_number_of_decisions_whatever_the_policy() -> None:
    for policy in Misfire:
        found = due(cron("* * * * *", misfire=policy), FRIDAY, FRIDAY + timedelta(days=365))
        assert len(found) == CATCH_UP + 1
        assert found[0].status is MISSED
        assert "2026-03-06T09:01:00Z" in (found[0].reason or "")


def test_every_held_time_says_why() -> None:
    for policy in Misfire:
        for decision in due(cron("0 9 * * *", misfire=policy), FRIDAY, utc("2026-03-09T15:00")):
            assert decision.reason
            assert "late" in decision.reason


def test_a_spread_moves_the_firing_and_not_the_nominal_time() -> None:
    spread = cron("0 9 * * *", spread_seconds=3600)
    when = next_due(spread, FRIDAY)
    assert when == utc("2026-03-07T09:00") + spread.delay
    assert due(spread, FRIDAY, when - timedelta(seconds=1)) == []
    assert [(d.nominal_time, d.status) for d in due(spread, FRIDAY, when)] == [(utc("2026-03-07T09:00"), FIRED)]


POLICIES = st.sampled_from(list(Misfire))
STARTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001


@pytest.mark.slow
@given(POLICIES, st.integers(1, 5000), STARTS, st.integers(-100_000, 100_000))
def test_F2_every_time_gets_one_decision_and_a_clock_that_went_back_gets_none(
    policy: Misfire, interval: int, last: datetime, elapsed: int
) -> None:
    schedule = every(interval, misfire=policy)
    now = last + timedelta(seconds=elapsed)
    found = due(schedule, last, now)
    times = nominal_times(schedule, last, now, 200_000)
    if len(times) <= CATCH_UP:
        assert [decision.nominal_time for decision in found] == times
    else:
        assert [decision.nominal_time for decision in found] == times[-CATCH_UP - 1 :]
    started = [d for d in found if d.status.runs]
    assert all(now - d.nominal_time > ON_TIME for d in found if not d.status.runs) or len(times) > CATCH_UP
    if policy is Misfire.RUN_ONCE:
        assert sum(d.status is CAUGHT_UP for d in started) <= 1
    if policy is Misfire.SKIP:
        assert all(d.status is FIRED for d in started)
    if policy is not Misfire.SKIP and times:
        assert started


@pytest.mark.slow
@given(POLICIES, st.lists(st.integers(0, 4000), min_size=1, max_size=20))
def test_looking_at_any_rhythm_decides_each_time_once(policy: Misfire, pauses: list[int]) -> None:
    schedule = cron("*/10 * * * *", "Europe/Berlin", misfire=policy)
    start = last = now = utc("2026-10-24T22:00")
    decided: list[datetime] = []
    for pause in pauses:
        now += timedelta(seconds=pause)
        found = due(schedule, last, now)
        decided += [decision.nominal_time for decision in found]
        last = found[-1].nominal_time if found else last
    assert decided == nominal_times(schedule, start, now, 10_000)
