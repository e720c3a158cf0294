"""Claiming: who gets which run, and who gets none (R5, R6, R14, R15)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import insert

from callboard.errors import FencedError
from callboard.state.models import agent_status
from callboard.state.runs import RunStatus
from tests.support.state_house import StateHouse


async def test_a_claimed_run_is_the_process_s_own_under_a_new_fencing_number(house: StateHouse) -> None:
    run_id = await house.queue(input={"a": 1})
    (claimed,) = await house.claim("p1")
    run = claimed.run
    assert (run.run_id, run.status, run.fencing, run.attempt) == (run_id, RunStatus.RUNNING, 1, 1)
    assert run.started_at == house.clock.now()
    assert claimed.input == {"a": 1}
    assert await house.claim("p2") == []


async def test_two_processes_that_claim_at_once_share_the_backlog_without_a_double(house: StateHouse) -> None:
    wanted = [await house.queue() for _ in range(20)]
    claims = await asyncio.gather(*(house.claimed_ids(process, slots=3) for process in ["p1", "p2"] * 5))
    taken = [run_id for claim in claims for run_id in claim]
    assert sorted(taken) == sorted(wanted)
    assert all(len(claim) <= 3 for claim in claims)


async def test_a_process_whose_clock_is_a_little_behind_takes_what_it_was_woken_for(house: StateHouse) -> None:
    run_id = await house.queue()
    assert await house.claimed_ids(behind=timedelta(milliseconds=200)) == [run_id]


async def test_the_most_urgent_come_first_then_the_oldest(house: StateHouse) -> None:
    normal = [await house.queue(rank=2) for _ in range(2)]
    critical = await house.queue(rank=0)
    high = await house.queue(rank=1)
    assert await house.claimed_ids(slots=3) == [critical, high, normal[0]]
    assert await house.claimed_ids() == [normal[1]]


async def test_batch_work_gets_no_slot_of_the_reserve(house: StateHouse) -> None:
    batch = [await house.queue(lane="batch") for _ in range(3)]
    interactive = [await house.queue() for _ in range(2)]
    assert await house.claimed_ids(slots=4, batch_slots=1) == [*interactive, batch[0]]
    assert await house.claimed_ids(slots=4, batch_slots=0) == []
    assert await house.claimed_ids(slots=4, batch_slots=4) == batch[1:]


async def test_a_run_is_claimed_by_its_own_mode_only(house: StateHouse) -> None:
    run_id = await house.queue(mode="continuous")
    assert await house.claimed_ids() == []
    assert await house.claimed_ids(mode="continuous") == [run_id]


async def test_a_run_that_backs_off_is_not_claimed_before_its_time(house: StateHouse) -> None:
    run = await house.start()
    later = house.clock.now().replace(minute=1)
    await house.settle(run, RunStatus.QUEUED, available_at=later, failure=True)
    assert await house.claim() == []
    await house.later(seconds=59.9)
    assert await house.claim() == []
    await house.later(seconds=0.1)
    (again,) = await house.claim()
    assert (again.run.attempt, again.run.fencing) == (2, 2)
    assert again.run.started_at == run.started_at


async def test_runs_of_a_paused_agent_wait(house: StateHouse) -> None:
    run_id = await house.queue("sleepy")
    row = {"agent": "sleepy", "status": "paused", "restarts": 0, "updated_at": house.clock.now()}
    await house.database.write(lambda c: c.execute(insert(agent_status), [row]).close())
    other = await house.queue("echo")
    assert await house.claimed_ids() == [other]
    await house.database.write(lambda c: c.execute(agent_status.update().values(status="available")).close())
    assert await house.claimed_ids() == [run_id]


async def test_runs_of_agents_that_a_process_cannot_work_on_are_left_to_others(house: StateHouse) -> None:
    suspect = (await house.start("foreign", process="p2")).run_id
    await _lost_twice(house)
    foreign = [await house.queue("foreign", rank=0) for _ in range(3)]
    own = await house.queue("echo")
    assert await house.claimed_ids("p1", slots=2, closed={"foreign", "another"}) == [own]
    assert await house.claimed_ids("p1", closed={"foreign", "another"}) == []
    await house.processes.register("p3", "pool", "here", 3)
    assert sorted(await house.claimed_ids("p3")) == sorted([suspect, *foreign])


@pytest.mark.parametrize("process", ["p1", "nobody"])
async def test_a_process_that_is_dead_or_unknown_may_not_claim(house: StateHouse, process: str) -> None:
    await house.processes.declare_dead(["p1"])
    run_id = await house.queue()
    with pytest.raises(FencedError, match=process):
        await house.claim(process)
    assert await house.status(run_id) is RunStatus.QUEUED


async def test_a_dead_process_s_claim_fails_it_alone(house: StateHouse) -> None:
    await house.processes.declare_dead(["p1"])
    run_id = await house.queue()
    dead, alive = await asyncio.gather(house.claim("p1"), house.claim("p2"), return_exceptions=True)
    assert isinstance(dead, FencedError)
    assert not isinstance(alive, BaseException)
    assert [item.run.run_id for item in alive] == [run_id]


async def test_a_process_holds_one_suspect_at_a_time(house: StateHouse) -> None:
    """A run that takes its process with it must not take its neighbours along twice."""
    suspects = [(await house.start(process="p2")).run_id for _ in range(3)]
    await _lost_twice(house)
    clean = await house.queue()
    first = await house.claimed_ids("p1")
    assert sorted(first) == sorted([suspects[0], clean])
    assert await house.claimed_ids("p1") == []
    await house.processes.register("p3", "pool", "here", 3)
    assert await house.claimed_ids("p3") == [suspects[1]]
    await house.settle(await house.run(suspects[0]))
    assert await house.claimed_ids("p1") == [suspects[2]]


async def test_what_has_lost_one_owner_comes_back_all_at_once(house: StateHouse) -> None:
    """A crash takes everything with it that was under way: that alone makes nothing suspect."""
    under_way = [(await house.start(process="p2")).run_id for _ in range(3)]
    await house.processes.declare_dead(["p2"])
    assert await house.claimed_ids("p1", suspect=False) == under_way


async def _lost_twice(house: StateHouse) -> None:
    """What runs in p2 loses that owner and the next."""
    await house.processes.declare_dead(["p2"])
    await house.processes.register("p4", "pool", "here", 4)
    assert await house.claimed_ids("p4")
    await house.processes.declare_dead(["p4"])


async def test_R15_fresh_runs_that_fill_every_place_pass_over_no_suspect(house: StateHouse) -> None:
    """A pool that is kept full takes the suspect when its turn has come, not when nothing else is left."""
    suspect = (await house.start(process="p2")).run_id
    await _lost_twice(house)
    fresh = [await house.queue() for _ in range(5)]
    assert await house.claimed_ids(slots=2) == [suspect, fresh[0]]
    assert await house.claimed_ids(slots=2) == fresh[1:3]


async def test_R5_a_suspect_comes_before_no_run_that_is_more_urgent(house: StateHouse) -> None:
    suspect = (await house.start(process="p2")).run_id
    await _lost_twice(house)
    urgent = [await house.queue(rank=1) for _ in range(2)]
    younger = await house.queue()
    assert await house.claimed_ids(slots=2) == urgent
    assert await house.claimed_ids(slots=1) == [suspect]
    assert await house.claimed_ids(slots=1) == [younger]


async def test_R15_fresh_batch_work_passes_over_no_suspect_of_its_lane(house: StateHouse) -> None:
    suspect = (await house.start(process="p2", lane="batch")).run_id
    await _lost_twice(house)
    fresh = [await house.queue(lane="batch") for _ in range(3)]
    assert await house.claimed_ids(slots=3, batch_slots=1) == [suspect]
    interactive = [await house.queue() for _ in range(2)]
    assert await house.claimed_ids(slots=3, batch_slots=1) == [*interactive, fresh[0]]


async def test_R15_many_suspects_and_fresh_runs_all_have_their_turn(house: StateHouse) -> None:
    suspects = [(await house.start(process="p2")).run_id for _ in range(3)]
    await _lost_twice(house)
    left = {*suspects, *[await house.queue() for _ in range(2)]}
    for expected in suspects:
        left |= {await house.queue() for _ in range(4)}
        taken = await house.claimed_ids(slots=2)
        assert (taken[0], len(taken), len(set(taken) & set(suspects))) == (expected, 2, 1)
        left -= set(taken)
        for run_id in taken:
            await house.settle(await house.run(run_id))
    assert set(await house.claimed_ids()) == left


async def test_a_process_that_wants_no_suspect_gets_none(house: StateHouse) -> None:
    await house.start(process="p2")
    await _lost_twice(house)
    assert await house.claimed_ids("p1", suspect=False) == []
    assert len(await house.claimed_ids("p1")) == 1


async def test_a_suspect_of_the_batch_lane_respects_the_reserve(house: StateHouse) -> None:
    run = await house.start(process="p2", lane="batch")
    await _lost_twice(house)
    assert await house.claimed_ids("p1", batch_slots=0) == []
    assert await house.claimed_ids("p1", batch_slots=1) == [run.run_id]
