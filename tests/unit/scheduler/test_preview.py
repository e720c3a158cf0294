"""What `schedules preview` says about the changes of the clocks."""

from __future__ import annotations

from callboard.scheduler.preview import PreviewLine, preview
from callboard.scheduler.schedule import Schedule
from tests.unit.scheduler.making import cron, every, utc


def lines(schedule: Schedule, start: str, count: int = 3) -> list[PreviewLine]:
    return preview(schedule, utc(start), count)


def test_a_line_shows_the_local_time_and_the_instant() -> None:
    first = lines(cron("0 9 * * MON-FRI", "Europe/Berlin"), "2026-07-03T12:00")[0]
    assert first.local.isoformat() == "2026-07-06T09:00:00+02:00"
    assert first.utc == utc("2026-07-06T07:00")
    assert first.note is None


def test_a_time_in_the_gap_says_that_it_moves_and_where_to() -> None:
    notes = [line.note for line in lines(cron("30 2 * * *", "Europe/Berlin"), "2026-03-27T12:00")]
    assert notes == [
        None,
        "clocks go forward on 2026-03-29 from 02:00 to 03:00: 02:30 does not exist, fires at 03:00",
        None,
    ]


def test_a_beat_says_which_times_are_left_out() -> None:
    note = lines(cron("*/10 2 * * *", "Europe/Berlin"), "2026-03-28T12:00")[0].note
    assert note is not None
    assert note.endswith("02:00, 02:10, 02:20, 02:30 and 2 more do not exist and are left out")


def test_an_hourly_beat_says_which_of_the_two_hours_it_is() -> None:
    notes = [line.note for line in lines(cron("0 * * * *", "America/New_York"), "2026-11-01T04:30")]
    assert notes == [
        "clocks go back: 01:00 comes twice, this is the first",
        "clocks go back: 01:00 comes twice, this is the second",
        None,
    ]


def test_a_daily_time_that_comes_twice_says_that_it_fires_once() -> None:
    notes = [line.note for line in lines(cron("45 1 * * *", "Australia/Lord_Howe"), "2026-04-04T12:00", 2)]
    assert notes == ["clocks go back: 01:45 comes twice, fires the first time only", None]


def test_an_interval_says_that_its_local_time_moves() -> None:
    notes = [line.note for line in lines(every(86_400, "Europe/Berlin"), "2026-03-28T12:00")]
    assert notes[0] is None
    assert notes[1] is not None
    assert "the local time moves, the interval stays" in notes[1]
    assert notes[2] is None


def test_utc_has_nothing_to_note_in_a_whole_year() -> None:
    assert all(line.note is None for line in lines(cron("0 */6 * * *"), "2026-01-01T00:00", 1460))
