"""Nominal times: what a schedule names, over every change of the clocks."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.errors import InvalidInputError
from callboard.scheduler.schedule import (
    Schedule,
    latest_nominal_times,
    nominal_times,
    schedule_id_of,
    schedules_of,
    times_after,
)
from tests.unit.scheduler.making import agent, cron, every, utc

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]
CHANGES = {
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25)),
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1)),
    "Australia/Lord_Howe": (date(2026, 10, 4), date(2026, 4, 5)),
    "UTC": (date(2026, 3, 29), date(2026, 10, 25)),
}
"""The local days on which the clocks go forward and back in 2026."""
GAP = {
    "Europe/Berlin": "30 2 * * *",
    "America/New_York": "30 2 * * *",
    "Australia/Lord_Howe": "15 2 * * *",
    "UTC": "30 2 * * *",
}
OVERLAP = {
    "Europe/Berlin": "30 2 * * *",
    "America/New_York": "30 1 * * *",
    "Australia/Lord_Howe": "45 1 * * *",
    "UTC": "30 2 * * *",
}


def around(zone: str, day: date) -> tuple[datetime, datetime]:
    """From the noon before to the noon after a day."""
    noon = datetime.combine(day, time(12), tzinfo=ZoneInfo(zone)).astimezone(UTC)
    return noon - timedelta(days=1), noon


def times(schedule: Schedule, after: datetime, until: datetime) -> list[datetime]:
    return nominal_times(schedule, after, until, 100_000)


def every_minute(after: datetime, until: datetime) -> list[datetime]:
    return [after + timedelta(minutes=n) for n in range(1, int((until - after).total_seconds()) // 60 + 1)]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("season", [0, 1], ids=["forward", "back"])
class TestChangesOfTheClocks:
    def test_F1_hourly_fires_at_every_full_hour_of_the_wall_and_never_twice(self, zone: str, season: int) -> None:
        after, until = around(zone, CHANGES[zone][season])
        found = times(cron("0 * * * *", zone), after, until)
        assert found == [t for t in every_minute(after, until) if t.astimezone(ZoneInfo(zone)).minute == 0]
        if zone != "Australia/Lord_Howe":
            assert {b - a for a, b in itertools.pairwise(found)} == {timedelta(hours=1)}

    def test_F1_hourly_written_with_a_full_list_is_hourly_too(self, zone: str, season: int) -> None:
        after, until = around(zone, CHANGES[zone][season])
        assert times(cron("0 0-23 * * *", zone), after, until) == times(cron("0 * * * *", zone), after, until)

    def test_F1_daily_in_the_gap_fires_once_a_day(self, zone: str, season: int) -> None:
        day = CHANGES[zone][season]
        after = datetime.combine(day - timedelta(days=3), time(12), tzinfo=ZoneInfo(zone))
        found = times(cron(GAP[zone], zone), after, after + timedelta(days=5))
        assert len({t.astimezone(ZoneInfo(zone)).date() for t in found}) == len(found) == 5

    def test_F1_daily_in_the_overlap_fires_once_a_day(self, zone: str, season: int) -> None:
        day = CHANGES[zone][season]
        after = datetime.combine(day - timedelta(days=3), time(12), tzinfo=ZoneInfo(zone))
        found = times(cron(OVERLAP[zone], zone), after, after + timedelta(days=5))
        assert len({t.astimezone(ZoneInfo(zone)).date() for t in found}) == len(found) == 5

    def test_F1_every_quarter_of_an_hour_goes_on_without_a_hole(self, zone: str, season: int) -> None:
        after, until = around(zone, CHANGES[zone][season])
        found = times(cron("*/15 * * * *", zone), after, until)
        assert {b - a for a, b in itertools.pairwise(found)} == {timedelta(minutes=15)}

    def test_F1_an_interval_does_not_see_the_change(self, zone: str, season: int) -> None:
        after, until = around(zone, CHANGES[zone][season])
        found = times(every(3600, zone), after, until)
        assert found == times(every(3600, "UTC"), after, until)
        assert all(t.timestamp() % 3600 == 0 for t in found)


def test_F1_a_time_in_the_gap_fires_at_its_end() -> None:
    found = times(cron("30 2 * * *", "Europe/Berlin"), utc("2026-03-28T12:00"), utc("2026-03-29T12:00"))
    assert found == [utc("2026-03-29T01:00")]


def test_F1_a_time_that_comes_twice_fires_the_first_time() -> None:
    found = times(cron("30 2 * * *", "Europe/Berlin"), utc("2026-10-24T12:00"), utc("2026-10-25T12:00"))
    assert found == [utc("2026-10-25T00:30")]


def test_F1_the_hour_that_celery_loses_is_there() -> None:
    found = times(cron("0 * * * *", "America/New_York"), utc("2026-11-01T04:30"), utc("2026-11-01T07:00"))
    assert found == [utc("2026-11-01T05:00"), utc("2026-11-01T06:00"), utc("2026-11-01T07:00")]


def test_F1_two_times_in_one_gap_fire_once_together() -> None:
    found = times(cron("0,30 2,3 * * *", "Europe/Berlin"), utc("2026-03-28T12:00"), utc("2026-03-29T12:00"))
    assert found == [utc("2026-03-29T01:00"), utc("2026-03-29T01:30")]


def test_F1_a_start_between_the_two_two_oclocks_does_not_fire_the_first_again() -> None:
    found = times(cron("30 2 * * *", "Europe/Berlin"), utc("2026-10-25T01:10"), utc("2026-10-26T12:00"))
    assert found == [utc("2026-10-26T01:30")]


def test_F1_every_second_hour_keeps_its_time_over_half_an_hour_of_change() -> None:
    found = times(cron("0 */2 * * *", "Australia/Lord_Howe"), utc("2026-04-04T12:00"), utc("2026-04-04T18:00"))
    assert found == [utc("2026-04-04T13:00"), utc("2026-04-04T15:30"), utc("2026-04-04T17:30")]


MINUTES = st.sampled_from(["*", "*/7", "*/15", "0", "30", "45", "0,30", "5-10"])
HOURS = st.sampled_from(["*", "*/2", "*/3", "1", "2", "3", "1-3", "0,12", "0-23"])
SPANS = st.sampled_from([(zone, day) for zone, days in CHANGES.items() for day in days])


def matches(field: str, size: int) -> set[int]:
    found: set[int] = set()
    for term in field.split(","):
        body, _, step = term.partition("/")
        low, _, high = body.partition("-")
        span = range(size) if body == "*" else range(int(low), int(high or low) + 1)
        found |= set(span[:: int(step or 1)])
    return found


@pytest.mark.slow
@given(MINUTES, HOURS, SPANS)
def test_F1_times_are_what_looking_at_the_wall_every_minute_says(
    minute: str, hour: str, span: tuple[str, date]
) -> None:
    zone, day = span
    after, until = around(zone, day)
    minutes, hours = matches(minute, 60), matches(hour, 24)
    beat = minute.startswith("*") or hour.startswith("*") or len(hours) == 24
    expected, walls = [], set()
    latest = (after - timedelta(minutes=1)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    for instant in [after, *every_minute(after, until)]:
        wall = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
        passed = [latest + timedelta(minutes=n) for n in range(1, int((wall - latest).total_seconds()) // 60)]
        hit = wall.minute in minutes and wall.hour in hours
        if not beat:
            moved = any(gone.minute in minutes and gone.hour in hours for gone in passed)
            hit = (hit and wall not in walls) or moved
        if hit and instant > after:
            expected.append(instant)
        walls.add(wall)
        latest = wall
    assert times(cron(f"{minute} {hour} * * *", zone), after, until) == expected


SCHEDULES = st.one_of(
    st.builds(lambda m, h, z: cron(f"{m} {h} * * *", z), MINUTES, HOURS, st.sampled_from(ZONES)),
    st.builds(lambda s, z: every(s, z), st.integers(60, 100_000), st.sampled_from(ZONES)),
)
INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001


@pytest.mark.slow
@given(SCHEDULES, INSTANTS, st.integers(0, 200_000), st.integers(0, 200_000))
def test_looking_twice_at_parts_of_a_span_sees_what_looking_once_does(
    schedule: Schedule, start: datetime, first: int, second: int
) -> None:
    middle = start + timedelta(seconds=first)
    end = middle + timedelta(seconds=second)
    found = times(schedule, start, end)
    assert times(schedule, start, middle) + times(schedule, middle, end) == found
    assert found == sorted(set(found))
    assert all(start < t <= end and t.tzinfo is UTC for t in found)


@pytest.mark.slow
@given(SCHEDULES, INSTANTS, st.integers(0, 400_000), st.integers(1, 120))
def test_the_latest_times_are_the_end_of_all_times(schedule: Schedule, start: datetime, span: int, limit: int) -> None:
    end = start + timedelta(seconds=span)
    assert latest_nominal_times(schedule, start, end, limit) == times(schedule, start, end)[-limit:]


def test_interval_ticks_are_multiples_since_the_epoch_whenever_one_begins() -> None:
    found = times(every(300), utc("2026-01-01T00:01:17"), utc("2026-01-01T00:12"))
    assert found == [utc("2026-01-01T00:05"), utc("2026-01-01T00:10")]


def test_a_rare_expression_finds_its_day_years_ahead() -> None:
    assert next(times_after(cron("0 0 29 2 *", "Europe/Berlin"), utc("2026-01-01T00:00"))) == utc("2028-02-28T23:00")
    assert next(times_after(cron("* 5 29 2 *", "Europe/Berlin"), utc("2026-01-01T00:00"))) == utc("2028-02-29T04:00")


def test_an_identity_follows_the_time_keys_and_nothing_else() -> None:
    one, edited = schedules_of(agent({"cron": "0 9 * * *"})), schedules_of(agent({"cron": "0 9 * * *", "input": "x"}))
    moved = schedules_of(agent({"cron": "0 10 * * *"}))
    assert one[0].schedule_id == edited[0].schedule_id != moved[0].schedule_id
    assert one[0].schedule_id == schedule_id_of("standup", "0 9 * * *", None, "UTC", None)


def test_a_named_schedule_keeps_its_name_and_shows_that_its_times_changed() -> None:
    (before,) = schedules_of(agent({"id": "morning", "cron": "0 9 * * *"}))
    (after,) = schedules_of(agent({"id": "morning", "cron": "0 10 * * *"}))
    assert before.schedule_id == after.schedule_id == "standup.morning"
    assert before.time_keys != after.time_keys


def test_two_entries_with_the_same_times_stay_apart() -> None:
    first, second = schedules_of(agent({"cron": "0 9 * * *", "input": "a"}, {"cron": "0 9 * * *", "input": "b"}))
    assert second.schedule_id == f"{first.schedule_id}-2"


def test_every_setting_of_the_file_reaches_the_schedule() -> None:
    (schedule,) = schedules_of(
        agent(
            {
                "cron": "0 9 * * MON-FRI",
                "timezone": "Europe/Berlin",
                "input": "Good morning",
                "misfire": "run_all",
                "overlap": "queue",
                "deliver_to": "#eng",
                "spread_seconds": 60,
            }
        )
    )
    assert (schedule.agent, schedule.timezone, schedule.input) == ("standup", "Europe/Berlin", "Good morning")
    assert (schedule.misfire, schedule.overlap, schedule.deliver_to) == ("run_all", "queue", "#eng")
    assert timedelta() <= schedule.delay <= timedelta(seconds=60)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"cron": "60 * * * *"}, "cron '60 \\* \\* \\* \\*'"),
        ({"cron": "0 0 30 2 *"}, "cron '0 0 30 2 \\*'"),
        ({"cron": "* * *"}, "minute hour day month weekday"),
        ({"cron": "* * * * *", "timezone": "Mars/Olympus"}, "IANA"),
        ({"interval_seconds": 0}, "from 1"),
        ({}, "exactly one"),
        ({"cron": "* * * * *", "interval_seconds": 5}, "exactly one"),
    ],
)
def test_E4_times_that_make_no_sense_are_refused_with_the_way_out(keys: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        Schedule(schedule_id="a.b", agent="a", **keys)  # type: ignore[arg-type]  # what a file might hold


@given(st.integers(0, 3600))
def test_a_spread_stays_within_its_span_and_never_changes(span: int) -> None:
    one, same = (cron("0 9 * * *", spread_seconds=span) for _ in range(2))
    assert one.delay == same.delay
    assert timedelta() <= one.delay <= timedelta(seconds=span)
