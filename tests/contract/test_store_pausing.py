"""Runs that wait for a provider: on every database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from callboard.state.finishing import ProgressDraft
from callboard.state.journal_store import Checkpoint
from callboard.state.models import deliveries, progress
from callboard.state.runs import Run, RunError, RunStatus, WaitingKind
from tests.support.state_house import StateHouse, claim_of

DOWN = RunError(code="waiting_for_provider", message="anthropic is left alone after failures")


async def pause(house: StateHouse, run: Run, seconds: float, **parts: Any) -> RunStatus:
    return await house.settle(
        run,
        RunStatus.WAITING,
        waiting_kind=WaitingKind.PROVIDER,
        available_at=house.clock.now() + timedelta(seconds=seconds),
        error=DOWN,
        **parts,
    )


async def notices(house: StateHouse) -> list[dict[str, Any]]:
    return [row for row in await house.rows(deliveries) if row["kind"] == "notice"]


async def test_G2_a_run_that_waits_for_a_provider_is_claimed_again_once_its_pause_is_over(house: StateHouse) -> None:
    run = await house.start()
    assert await pause(house, run, 30.0) is RunStatus.WAITING
    waiting = await house.run(run.run_id)
    assert waiting.waiting_for is not None
    assert waiting.waiting_for.kind is WaitingKind.PROVIDER

    await house.later(seconds=29)
    assert await house.store.resume_paused() == 0
    assert await house.claim() == []
    await house.later(seconds=2)
    assert await house.store.resume_paused() == 1
    assert await house.store.resume_paused() == 0
    (claimed,) = await house.claim()

    assert (claimed.run.run_id, claimed.run.failures, claimed.run.attempt) == (run.run_id, 0, 1)
    assert "run.requested.autonomous.interactive" in house.announced.wakes


async def test_G2_a_person_is_told_once_that_the_run_waits(house: StateHouse) -> None:
    run = await house.start(reply=True)
    await pause(house, run, 30.0)
    await house.later(seconds=31)
    await house.store.resume_paused()
    (claimed,) = await house.claim()
    await pause(house, claimed.run, 60.0)

    (notice,) = await notices(house)
    assert "anthropic is left alone" in notice["body"]["text"]
    assert "01:00 UTC" in notice["body"]["text"]
    lines = [row for row in await house.rows(progress) if row["kind"] == "paused"]
    assert [line["data"]["for"] for line in lines] == ["provider", "provider"]


async def test_a_pause_of_a_second_is_no_news_but_the_second_one_after_it_is(house: StateHouse) -> None:
    run = await house.start(reply=True)
    await pause(house, run, 1.0)
    assert await notices(house) == []
    await house.later(seconds=2)
    await house.store.resume_paused()
    (claimed,) = await house.claim()
    await pause(house, claimed.run, 4.0)
    assert len(await notices(house)) == 1


async def test_a_run_that_has_waited_for_an_hour_looks_once_more_and_then_fails_with_the_reason(
    house: StateHouse,
) -> None:
    run = await house.start()
    for minute in (0, 25, 50):
        assert await pause(house, run, 25 * 60.0) is RunStatus.WAITING
        since = (await house.run(run.run_id)).waiting_for
        assert since is not None
        assert since.since == house.clock.now() - timedelta(minutes=minute)
        await house.later(minutes=25 if minute < 50 else 10)
        assert await house.store.resume_paused() == 1
        (claimed,) = await house.claim()
        run = claimed.run

    assert await pause(house, run, 60.0) is RunStatus.FAILED
    error = (await house.result(run.run_id)).error
    assert error is not None
    assert error.code == "provider_unavailable"
    assert error.message == "waited 3600 s for the model provider: anthropic is left alone after failures"


async def test_an_answer_of_a_model_begins_a_new_series_of_pauses(house: StateHouse) -> None:
    run = await house.start()
    await pause(house, run, 3000.0)
    await house.later(seconds=3001)
    await house.store.resume_paused()
    (claimed,) = await house.claim()
    await house.journals.append(
        claim_of(claimed.run), Checkpoint(messages=(), progress=(ProgressDraft(kind="model_call", data={}),))
    )
    await house.later(seconds=1000)
    assert await pause(house, claimed.run, 60.0) is RunStatus.WAITING
    waiting = (await house.run(run.run_id)).waiting_for
    assert waiting is not None
    assert waiting.since == house.clock.now()


async def test_a_cancelled_run_does_not_wait(house: StateHouse) -> None:
    run = await house.start()
    await pause(house, run, 3000.0)
    await house.store.request_cancel(run.run_id, run.actor)
    assert await house.status(run.run_id) is RunStatus.CANCELLED
    await house.later(seconds=3001)
    assert await house.store.resume_paused() == 0


async def test_a_question_about_a_budget_waits_for_its_answer_alone(house: StateHouse) -> None:
    run = await house.start()
    await house.ask(run, waiting_kind=WaitingKind.BUDGET)
    await house.later(hours=2)
    assert await house.store.resume_paused() == 0
    assert await house.status(run.run_id) is RunStatus.WAITING


async def test_G2_after_healing_runs_come_back_over_as_long_as_they_took_to_pile_up(house: StateHouse) -> None:
    began = house.clock.now()
    for _ in range(20):
        await pause(house, await house.start(), 250.0)
        await house.later(seconds=0.5)
    outage = (house.clock.now() - began).total_seconds()
    assert await house.store.release_paused() == 20

    back = []
    for _ in range(round(outage) + 1):
        back.append(await house.store.resume_paused())
        await house.later(seconds=1)

    assert sum(back) == 20
    assert max(back[1:]) <= 2  # twice a second they came, so with the new ones it is twice as many


async def test_a_run_whose_pause_is_shorter_than_its_place_in_the_release_is_not_put_off(house: StateHouse) -> None:
    for _ in range(5):
        await pause(house, await house.start(), 0.5)
    await house.later(seconds=0.4)
    await house.store.release_paused()
    await house.later(seconds=0.2)
    assert await house.store.resume_paused() == 5
