"""Leases belong to processes: what becomes of the runs of one that is gone (R13 to R15)."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import update

from callboard.errors import FencedError
from callboard.state.effects import EffectDraft, EffectStatus
from callboard.state.models import deliveries, runs
from callboard.state.runs import MAX_LEASE_LOSSES, Run, RunStatus
from callboard.state.sql.journal import Checkpoint
from tests.support.state_house import StateHouse, claim_of


async def test_the_runs_of_a_dead_process_go_to_others_and_remember_the_loss(house: StateHouse) -> None:
    run = await house.start(process="p1")
    await house.processes.declare_dead(["p1"])
    assert "run.requested.autonomous.interactive" in house.announced.wakes
    (taken,) = await house.claim("p2")
    assert (taken.run.run_id, taken.run.lease_losses, taken.run.attempt) == (run.run_id, 1, 1)
    assert taken.run.fencing == run.fencing + 1


async def test_R14_a_dead_process_stays_dead(house: StateHouse) -> None:
    await house.processes.beat("p1")
    await house.processes.declare_dead(["p1"])
    with pytest.raises(FencedError, match="p1"):
        await house.processes.beat("p1")
    assert [record.id for record in await house.processes.alive()] == ["p2"]


async def test_a_beat_grows_by_one(house: StateHouse) -> None:
    for _ in range(3):
        await house.processes.beat("p1")
    assert {record.id: record.beat for record in await house.processes.alive()} == {"p1": 3, "p2": 0}


async def test_R15_a_run_that_loses_too_many_owners_ends_as_failed(house: StateHouse) -> None:
    """A run that takes its process with it each time must end at some time."""
    run_id = await house.queue(reply=True, order="echo/1")
    second = await house.queue(order="echo/1")
    losses = 0
    while await house.status(run_id) is RunStatus.QUEUED:
        process = f"victim-{losses}"
        await house.processes.register(process, "pool", "here", losses)
        assert await house.claimed_ids(process) == [run_id]
        await house.processes.declare_dead([process])
        losses += 1
    result = await house.result(run_id)
    assert losses == MAX_LEASE_LOSSES + 1
    assert result.run.status is RunStatus.FAILED
    assert result.error is not None
    assert result.error.code == "worker_lost"
    assert str(losses) in result.error.message
    assert [row["kind"] for row in await house.rows(deliveries)] == ["failure"]
    assert await house.claimed_ids() == [second]


async def test_a_run_that_lost_its_process_in_a_call_says_which_may_have_happened(house: StateHouse) -> None:
    run = await house.start(process="p1")
    done, failed = [EffectDraft(key=f"/0/{n}", tool="save", digest="d", idempotent=False) for n in range(2)]
    doubtful = EffectDraft(key="/0/2", tool="send_email", digest="d", idempotent=False)
    for draft, status in ((done, EffectStatus.DONE), (failed, EffectStatus.FAILED)):
        await house.journals.begin_effect(claim_of(run), draft, repeat=False)
        await house.journals.end_effect(claim_of(run), draft, status, "r", Checkpoint(messages=()))
    await house.journals.begin_effect(claim_of(run), doubtful, repeat=False)
    assert await told(house, run) == {"/0/0": "done", "/0/1": "failed", "/0/2": "attempting"}
    await lose(house, run.run_id, "p1")
    assert (await told(house, run))["/0/2"] == "unknown"
    await house.claimed_ids("p2")
    assert (await told(house, run))["/0/2"] == "unknown"
    await lose(house, run.run_id, "p2")
    result = await house.result(run.run_id)
    assert result.error is not None
    assert result.error.code == "worker_lost"
    assert "'send_email'" in result.error.message
    assert "'save'" not in result.error.message
    assert "may have happened" in result.error.message
    assert (await told(house, run))["/0/2"] == "unknown"


async def test_a_run_that_lost_its_process_in_no_call_accuses_no_tool(house: StateHouse) -> None:
    run = await house.start(process="p1")
    await lose(house, run.run_id, "p1")
    await house.claimed_ids("p2")
    await lose(house, run.run_id, "p2")
    result = await house.result(run.run_id)
    assert result.error is not None
    assert "may have happened" not in result.error.message


async def lose(house: StateHouse, run_id: str, process: str) -> None:
    """The run loses this process; the next time it is lost it has had its last one."""
    await house.processes.declare_dead([process])
    last = update(runs).where(runs.c.run_id == run_id).values(lease_losses=MAX_LEASE_LOSSES)
    await house.database.write(lambda connection: connection.execute(last).close())


async def told(house: StateHouse, run: Run) -> dict[str, str]:
    """The calls of the run as its trace tells of them."""
    story = await house.queries.story(run.tenant, run.trace_id)
    return {effect.key: effect.status for effect in story.effects}


async def test_a_clean_exit_is_no_loss(house: StateHouse) -> None:
    run = await house.start(process="p1")
    await house.processes.hand_back("p1")
    (taken,) = await house.claim("p2")
    assert (taken.run.run_id, taken.run.lease_losses, taken.run.attempt) == (run.run_id, 0, 1)
    with pytest.raises(FencedError):
        await house.claim("p1")
    with pytest.raises(FencedError):
        await house.settle(run)


async def test_two_sweepers_that_see_the_same_death_count_it_once(house: StateHouse) -> None:
    run = await house.start(process="p1")
    await asyncio.gather(*(house.processes.declare_dead(["p1"]) for _ in range(3)))
    assert (await house.run(run.run_id)).lease_losses == 1


async def test_waiting_and_queued_runs_are_nobody_s_and_lose_nothing(house: StateHouse) -> None:
    waiting = await house.start(process="p1")
    await house.ask(waiting)
    queued = await house.queue()
    await house.processes.declare_dead(["p1"])
    for run_id, status in ((waiting.run_id, RunStatus.WAITING), (queued, RunStatus.QUEUED)):
        run = await house.run(run_id)
        assert (run.status, run.lease_losses) == (status, 0)
