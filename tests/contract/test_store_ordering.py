"""Turns and places: one run of a key at a time, in order, and so many runs of an agent at once (R6, R9 to R12)."""

from __future__ import annotations

import asyncio

import pytest

from callboard.errors import ConflictError
from callboard.state.models import runs
from callboard.state.runs import RunError, RunStatus, WaitingKind
from tests.support.state_house import TESS, StateHouse


async def test_I4_runs_of_a_key_are_handed_out_one_at_a_time_in_the_order_of_acceptance(house: StateHouse) -> None:
    wanted = [await house.queue(order="echo/1") for _ in range(4)]
    seen = []
    while claimed := await house.claim():
        assert len(claimed) == 1
        seen.append(claimed[0].run.run_id)
        await house.settle(claimed[0].run)
    assert seen == wanted


async def test_keys_do_not_wait_for_each_other(house: StateHouse) -> None:
    firsts = [await house.queue(order=f"echo/{n}") for n in range(3)]
    for n in range(3):
        await house.queue(order=f"echo/{n}")
    assert await house.claimed_ids() == firsts


@pytest.mark.parametrize("kept", ["backing off", "waiting", "lost"])
async def test_a_run_that_is_not_done_keeps_its_turn(house: StateHouse, kept: str) -> None:
    run = await house.start(process="p2", order="echo/1")
    await house.queue(order="echo/1")
    match kept:
        case "backing off":
            await house.settle(run, RunStatus.QUEUED, available_at=house.clock.now().replace(hour=1), failure=True)
        case "waiting":
            await house.ask(run)
        case _:
            await house.processes.declare_dead(["p2"])
    expected = [run.run_id] if kept == "lost" else []
    assert await house.claimed_ids() == expected


@pytest.mark.parametrize("status", [status for status in RunStatus if status.terminal])
async def test_every_end_hands_the_turn_on(house: StateHouse, status: RunStatus) -> None:
    run = await house.start(order="echo/1")
    second = await house.queue(order="echo/1")
    if status is RunStatus.CANCELLED:
        await house.store.request_cancel(run.run_id, TESS)
    await house.settle(run, status)
    assert await house.claimed_ids() == [second]


async def test_a_queued_run_that_is_cancelled_leaves_the_line(house: StateHouse) -> None:
    run = await house.start(order="echo/1")
    second, third = [await house.queue(order="echo/1") for _ in range(2)]
    await house.store.request_cancel(second, TESS)
    await house.settle(run)
    assert await house.claimed_ids() == [third]


async def test_the_database_itself_refuses_two_turns_of_one_key(house: StateHouse) -> None:
    for _ in range(2):
        await house.queue(order="echo/1")
    with pytest.raises(Exception, match=r"(?i)unique"):
        await house.database.write(lambda c: c.execute(runs.update().values(has_turn=True)).close())


async def test_no_more_runs_than_places_are_under_way(house: StateHouse) -> None:
    wanted = [await house.queue(place="agent:echo", places=2) for _ in range(5)]
    claimed = await house.claim()
    assert [item.run.run_id for item in claimed] == wanted[:2]
    assert await house.claim("p2") == []
    await house.settle(claimed[0].run)
    assert await house.claimed_ids("p2") == [wanted[2]]


async def test_the_most_urgent_gets_the_next_place(house: StateHouse) -> None:
    first = await house.start(place="agent:echo")
    await house.queue(place="agent:echo")
    urgent = await house.queue(place="agent:echo", rank=0)
    await house.settle(first)
    assert await house.claimed_ids() == [urgent]


async def test_a_run_that_waits_on_somebody_gives_its_place_away_and_lines_up_again(house: StateHouse) -> None:
    first = await house.start(place="agent:echo")
    second = await house.queue(place="agent:echo")
    await house.ask(first)
    (taken,) = await house.claim()
    assert taken.run.run_id == second
    await house.answer(first.run_id)
    assert await house.claim() == []
    await house.settle(taken.run)
    assert await house.claimed_ids() == [first.run_id]


async def test_an_answer_that_was_there_before_leaves_places_and_turns_right(house: StateHouse) -> None:
    first = await house.start(place="agent:echo", order="echo/1")
    await house.ask(first, "a")
    await house.answer(first.run_id)
    (again,) = await house.claim()
    other = await house.queue(place="agent:echo", order="echo/2")
    assert await house.ask(again.run, "a") is RunStatus.WAITING  # and it is over at once
    assert await house.claimed_ids() == [first.run_id]
    assert await house.claim() == []
    await house.settle(await house.run(first.run_id))
    assert await house.claimed_ids() == [other]


async def test_a_lost_run_takes_no_second_place(house: StateHouse) -> None:
    wanted = [await house.queue(place="agent:echo", places=2) for _ in range(3)]
    assert await house.claimed_ids("p2") == wanted[:2]
    await house.processes.declare_dead(["p2"])
    assert await house.claimed_ids("p1") == wanted[:2]
    await house.settle(await house.run(wanted[0]))
    assert await house.claimed_ids("p1") == [wanted[2]]


async def test_a_larger_limit_lets_those_in_first_who_have_waited(house: StateHouse) -> None:
    await house.start(place="agent:echo", places=1)
    second = await house.queue(place="agent:echo", places=1)
    third = await house.queue(place="agent:echo", places=2)
    assert await house.claimed_ids() == [second]
    assert await house.status(third) is RunStatus.QUEUED


async def test_turn_and_place_together(house: StateHouse) -> None:
    a1, a2 = [await house.queue(order="echo/a", place="agent:echo", places=2) for _ in range(2)]
    b1, c1 = [await house.queue(order=f"echo/{key}", place="agent:echo", places=2) for key in "bc"]
    assert await house.claimed_ids() == [a1, b1]
    await house.settle(await house.run(a1))
    assert await house.claimed_ids() == [a2]
    await house.settle(await house.run(b1))
    assert await house.claimed_ids() == [c1]


async def test_many_at_once_never_break_the_limit(house: StateHouse) -> None:
    await asyncio.gather(*(house.accept(house.event(place="agent:echo", places=3)) for _ in range(30)))
    await house.route()
    done = 0
    while done < 30:
        claimed = await house.claim()
        assert 0 < len(claimed) <= 3
        await asyncio.gather(*(house.settle(item.run) for item in claimed))
        done += len(claimed)


class TestCancel:
    """After a cancel is accepted the run can end in no other way (R19)."""

    async def test_queued_and_waiting_runs_end_at_once(self, house: StateHouse) -> None:
        waiting = await house.start()
        await house.ask(waiting)
        queued = await house.queue()
        for run_id in (queued, waiting.run_id):
            await house.store.request_cancel(run_id, TESS)
            result = await house.result(run_id)
            assert result.run.status is RunStatus.CANCELLED
            assert result.error == RunError(code="cancelled", message="cancelled by tess")
        assert await house.claim() == []
        (closed,) = await house.store.clarifications("default", "cancelled")
        assert closed.run_id == waiting.run_id

    async def test_a_queued_run_may_be_cancelled_before_anybody_had_it(self, house: StateHouse) -> None:
        run_id = await house.queue(reply=True)
        await house.store.request_cancel(run_id, TESS)
        run = await house.run(run_id)
        assert (run.attempt, run.fencing, run.started_at) == (0, 0, None)

    @pytest.mark.parametrize("end", [RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.QUEUED, RunStatus.WAITING])
    async def test_a_running_run_ends_as_cancelled_whatever_it_came_to(self, house: StateHouse, end: RunStatus) -> None:
        run = await house.start()
        await house.store.request_cancel(run.run_id, TESS)
        assert "run.cancel.p1" in house.announced.wakes
        assert (await house.processes.beat("p1")).cancelled == {run.run_id}
        assert (await house.processes.beat("p2")).cancelled == frozenset()
        assert await house.settle(run, end, output="x") is RunStatus.CANCELLED
        result = await house.result(run.run_id)
        assert (result.run.status, result.output) == (RunStatus.CANCELLED, None)
        assert house.announced.topics()[-1] == "run.cancelled.echo"

    async def test_a_cancelled_run_whose_process_is_lost_does_not_run_again(self, house: StateHouse) -> None:
        run = await house.start(process="p2")
        await house.store.request_cancel(run.run_id, TESS)
        await house.processes.declare_dead(["p2"])
        assert await house.status(run.run_id) is RunStatus.CANCELLED
        assert await house.claim() == []

    async def test_steps_are_cancelled_with_their_plan(self, house: StateHouse) -> None:
        parent = await house.start(mode="collaborative")
        drafts = tuple(house.child(parent, step, order=f"helper/{step}") for step in ("one", "two"))
        await house.settle(parent, RunStatus.WAITING, waiting_kind=WaitingKind.STEPS, children=drafts)
        (one, *_) = await house.claim(slots=1)
        await house.store.request_cancel(parent.run_id, TESS)
        assert await house.status(parent.run_id) is RunStatus.CANCELLED
        assert (await house.run(one.run.run_id)).cancel_requested
        assert await house.status(drafts[1].run.run_id) is RunStatus.CANCELLED
        assert await house.settle(one.run) is RunStatus.CANCELLED

    async def test_a_plan_that_is_at_work_takes_its_steps_with_it_too(self, house: StateHouse) -> None:
        parent = await house.start(mode="collaborative")
        drafts = tuple(house.child(parent, step) for step in ("one", "two"))
        await house.settle(parent, RunStatus.WAITING, waiting_kind=WaitingKind.STEPS, children=drafts)
        (one, two) = await house.claim()
        await house.settle(one.run)
        (woken,) = await house.claim(mode="collaborative")
        await house.store.request_cancel(parent.run_id, TESS)
        assert (await house.run(two.run.run_id)).cancel_requested
        assert await house.settle(woken.run) is RunStatus.CANCELLED

    async def test_a_second_cancel_changes_nothing_and_a_late_one_is_told_so(self, house: StateHouse) -> None:
        run_id = await house.queue()
        await house.store.request_cancel(run_id, TESS)
        told = len(house.announced.events)
        await house.store.request_cancel(run_id, TESS)
        assert len(house.announced.events) == told
        done = await house.start()
        await house.settle(done)
        with pytest.raises(ConflictError) as late:
            await house.store.request_cancel(done.run_id, TESS)
        assert late.value.code == "ended"
        assert "succeeded" in late.value.message
