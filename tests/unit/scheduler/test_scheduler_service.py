"""What people ask of schedules, and the policies that look at the runs before."""

from __future__ import annotations

import pytest

from callboard.errors import InvalidInputError, NotFoundError
from callboard.scheduler.listing import occurrence_record
from callboard.state.occurrences import OccurrenceStatus, Phase
from callboard.state.sql.occurrences import QUEUE_LIMIT
from tests.unit.scheduler.house import TESTER, House, fired
from tests.unit.scheduler.making import cron, utc

FIRED, CAUGHT_UP, SKIPPED = OccurrenceStatus.FIRED, OccurrenceStatus.CAUGHT_UP, OccurrenceStatus.SKIPPED
HOURLY = {"id": "hourly", "cron": "0 * * * *", "input": "go"}


class TestOverlap:
    async def test_skip_holds_a_time_while_the_run_before_is_at_work(self, house: House) -> None:
        house.has(HOURLY)
        ticker = house.ticker()
        await ticker.tick()
        await house.at(utc("2026-03-07T09:00"), ticker)
        await house.route()
        await house.at(utc("2026-03-07T10:00"), ticker)
        await house.end_run((await house.ledger())[0].run_id)
        await house.at(utc("2026-03-07T11:00"), ticker)
        assert await house.statuses() == [("07 09:00", FIRED), ("07 10:00", SKIPPED), ("07 11:00", FIRED)]
        assert "overlap is skip" in ((await house.ledger())[1].reason or "")

    async def test_skip_counts_an_event_that_is_not_routed_yet(self, house: House) -> None:
        house.has(HOURLY)
        ticker = house.ticker()
        await ticker.tick()
        await house.at(utc("2026-03-07T09:00"), ticker)
        await house.at(utc("2026-03-07T10:00"), ticker)
        assert await house.statuses() == [("07 09:00", FIRED), ("07 10:00", SKIPPED)]

    async def test_skip_forgets_an_event_that_found_no_agent(self, house: House) -> None:
        house.has(HOURLY)
        ticker = house.ticker()
        await ticker.tick()
        await house.at(utc("2026-03-07T09:00"), ticker)
        await house.route_to_nobody()
        await house.at(utc("2026-03-07T10:00"), ticker)
        assert await house.statuses() == [("07 09:00", FIRED), ("07 10:00", FIRED)]

    async def test_allow_lets_runs_stand_beside_each_other(self, house: House) -> None:
        house.has({**HOURLY, "overlap": "allow"})
        ticker = house.ticker()
        await ticker.tick()
        await house.at(utc("2026-03-07T09:00"), ticker)
        await house.at(utc("2026-03-07T10:00"), ticker)
        assert len(await house.events()) == 2

    async def test_queue_starts_one_after_the_other_in_order(self, house: House) -> None:
        house.has({**HOURLY, "overlap": "queue"})
        ticker = house.ticker()
        await ticker.tick()
        for hour in (9, 10, 11):
            await house.at(utc(f"2026-03-07T{hour:02}:00"), ticker)
            await house.route()
        assert [record.phase for record in await house.ledger()] == [Phase.OPEN, Phase.QUEUED, Phase.QUEUED]
        started = []
        for _ in range(3):
            newest = fired(await house.ledger())[-1]
            started.append(newest.nominal_time.hour)
            await house.end_run(newest.run_id)
            await house.later(ticker, seconds=1)
            await house.route()
        assert started == [9, 10, 11]
        tasks = [event for event in await house.events() if event.topic == "scheduled.tasks.standup"]
        assert [task.payload["occurrence"] for task in tasks] == ["fired"] * 3
        assert "waited" in ((await house.ledger())[1].reason or "")

    @pytest.mark.slow
    async def test_queue_is_bounded_and_says_so(self, house: House) -> None:
        house.has({"interval_seconds": 30, "overlap": "queue"})
        ticker = house.ticker()
        await ticker.tick()
        for _ in range(QUEUE_LIMIT + 5):
            await house.later(ticker, seconds=30)
        ledger = await house.ledger()
        assert sum(record.phase is Phase.QUEUED for record in ledger) == QUEUE_LIMIT
        assert "wait already" in (ledger[-1].reason or "")

    async def test_queued_times_of_a_removed_schedule_are_skipped(self, house: House) -> None:
        house.has({**HOURLY, "overlap": "queue"})
        ticker = house.ticker()
        await ticker.tick()
        for hour in (9, 10):
            await house.at(utc(f"2026-03-07T{hour:02}:00"), ticker)
        await house.route()
        await house.end_run((await house.ledger())[0].run_id)
        house.lacks("standup")
        await house.later(ticker, seconds=31)
        last = (await house.ledger())[-1]
        assert (last.status, last.phase) == (SKIPPED, Phase.CLOSED)
        assert "removed" in (last.reason or "")


class TestPause:
    async def test_a_paused_schedule_enters_its_times_as_skipped_until_it_is_resumed(self, house: House) -> None:
        house.has({**HOURLY, "overlap": "allow"})
        ticker, service = house.ticker(), house.service()
        await ticker.tick()
        assert await service.pause("standup") == ["standup.hourly"]
        await house.at(utc("2026-03-07T09:00"), ticker)
        await service.resume("standup", "hourly")
        await house.at(utc("2026-03-07T10:00"), ticker)
        assert await house.statuses() == [("07 09:00", SKIPPED), ("07 10:00", FIRED)]
        assert (await house.ledger())[0].reason == "paused"

    async def test_one_of_several_can_be_paused(self, house: House) -> None:
        house.has({**HOURLY, "overlap": "allow"}, {"id": "other", "cron": "0 * * * *"})
        ticker, service = house.ticker(), house.service()
        await service.pause("standup", "other")
        await ticker.tick()
        await house.at(utc("2026-03-07T09:00"), ticker)
        assert {record.schedule_id: record.status for record in await house.ledger()} == {
            "standup.hourly": FIRED,
            "standup.other": SKIPPED,
        }

    async def test_a_pause_outlives_an_edit_and_a_restart(self, house: House) -> None:
        house.has(HOURLY)
        await house.service().pause("standup")
        house.has({**HOURLY, "cron": "30 * * * *"})
        ticker = house.ticker()
        await ticker.tick()
        await house.at(utc("2026-03-07T09:30"), ticker)
        assert await house.statuses() == [("07 09:30", SKIPPED)]


class TestRunNow:
    async def test_it_fires_at_once_and_leaves_the_schedule_alone(self, house: House) -> None:
        house.has({**HOURLY, "overlap": "allow"})
        ticker, service = house.ticker(), house.service()
        await ticker.tick()
        record = await service.run_now("standup", actor=TESTER)
        await house.at(utc("2026-03-07T09:00"), ticker)
        manual, scheduled = await house.events()
        assert (manual.event_id, manual.actor) == (record.event_id, TESTER)
        assert (manual.payload["occurrence"], scheduled.payload["occurrence"]) == ("manual", "fired")
        assert record.reason == "asked for by user tess"

    async def test_it_works_while_the_schedule_is_paused_and_busy(self, house: House) -> None:
        house.has(HOURLY)
        service = house.service()
        await service.pause("standup")
        await service.run_now("standup", actor=TESTER)
        await house.clock.advance(1)
        assert (await service.run_now("standup", "standup.hourly", actor=TESTER)).phase is Phase.OPEN

    async def test_of_several_schedules_it_wants_one_named(self, house: House) -> None:
        house.has(HOURLY, {"id": "daily", "cron": "0 9 * * *"})
        with pytest.raises(InvalidInputError, match="has 2 schedules: name one of hourly, daily"):
            await house.service().run_now("standup", actor=TESTER)


@pytest.mark.parametrize(
    ("agent", "schedule", "says"),
    [
        ("nobody", None, "no agent 'nobody'; the agents are idle, standup"),
        ("idle", None, "agent 'idle' has no schedules; add `schedules` to its file"),
        ("standup", "nightly", "agent 'standup' has no schedule 'nightly'; it has hourly"),
    ],
)
async def test_what_does_not_exist_is_named_with_what_does(
    house: House, agent: str, schedule: str | None, says: str
) -> None:
    house.has(HOURLY)
    house.has(name="idle")
    with pytest.raises(NotFoundError, match=says):
        await house.service().pause(agent, schedule)


async def test_the_listing_shows_what_is_next_and_what_was_last(house: House) -> None:
    house.has({**HOURLY, "timezone": "Europe/Berlin"})
    house.has({"interval_seconds": 1800}, name="beat")
    ticker, service = house.ticker(), house.service()
    await ticker.tick()
    await house.at(utc("2026-03-07T09:00"), ticker)
    await service.pause("beat")
    beat, hourly = [item.to_record() for item in await service.listing(count=2)]
    assert (hourly["agent"], hourly["id"], hourly["cron"]) == ("standup", "standup.hourly", "0 * * * *")
    assert (hourly["timezone"], hourly["paused"]) == ("Europe/Berlin", False)
    assert hourly["next_times"] == ["2026-03-07T10:00:00Z", "2026-03-07T11:00:00Z"]
    last = (await service.history("standup"))[0]
    assert hourly["last_occurrence"] == occurrence_record(last)
    assert (beat["paused"], beat["next_times"], beat["interval_seconds"]) == (True, [], 1800)


async def test_the_history_comes_newest_first_in_pages(house: House) -> None:
    house.has({**HOURLY, "overlap": "allow"})
    ticker, service = house.ticker(), house.service()
    await ticker.tick()
    for hour in (9, 10, 11):
        await house.at(utc(f"2026-03-07T{hour:02}:00"), ticker)
    first = await service.history("standup", "hourly", limit=2)
    second = await service.history("standup", "standup.hourly", limit=2, before=first[-1].nominal_time)
    assert [record.nominal_time.hour for record in [*first, *second]] == [11, 10, 9]
    assert await service.history("other") == []


async def test_a_preview_covers_every_schedule_of_the_agent(house: House) -> None:
    house.has(HOURLY, {"id": "daily", "cron": "30 2 * * *", "timezone": "Europe/Berlin"})
    found = house.service().preview("standup", count=2)
    assert [(schedule.schedule_id, len(lines)) for schedule, lines in found] == [
        ("standup.hourly", 2),
        ("standup.daily", 2),
    ]
    with pytest.raises(InvalidInputError, match="count is 0"):
        house.service().preview("standup", count=0)


async def test_a_tick_by_name_is_only_a_hint(house: House) -> None:
    house.has(HOURLY)
    service = house.service()
    await service.initialize()
    assert await service.publish_scheduled_task("standup.hourly") == []
    await house.at(utc("2026-03-07T09:00"))
    assert [record.status for record in await service.publish_scheduled_task("standup.hourly")] == [FIRED]
    assert await service.publish_scheduled_task("standup.hourly") == []
    with pytest.raises(NotFoundError):
        await service.publish_scheduled_task("standup.gone")


async def test_a_reconcile_alone_finds_everything_that_ticks_lost(house: House) -> None:
    house.has(HOURLY)
    house.has({"cron": "15 9 * * *"}, name="other")
    await house.service().reconcile()
    await house.at(utc("2026-03-07T09:20"))
    records = await house.service().reconcile()
    assert [(record.agent, record.status) for record in records] == [("standup", CAUGHT_UP), ("other", CAUGHT_UP)]
    assert await house.service().reconcile() == []


async def test_a_schedule_can_be_registered_by_itself(house: House) -> None:
    assert await house.service().register_schedule(cron("0 9 * * *")) == house.clock.now()


async def test_an_agent_whose_times_cannot_be_computed_does_not_stop_the_others(house: House) -> None:
    house.has({"cron": "0 0 30-31 2 *"}, name="never")
    house.has(HOURLY)
    assert list(house.service().schedules()) == ["standup.hourly"]
