"""A plan at work: its steps are runs of other agents, and between two of them nothing is held (R21)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard.agents.engine import Failed, Outcome, Usage, Work
from callboard.state.runs import RunStatus
from tests.support.pool_house import PoolHouse, definition, hangs, pool_house
from tests.support.state_house import TESS
from tests.support.waiting import wait_until

STEPS = [
    {"id": "research", "agent": "researcher", "input": "find ${input}"},
    {"id": "second", "agent": "researcher", "input": "also ${input}"},
    {"id": "judge", "agent": "analyst", "input": "${step.research.output} / ${step.second.output}",
     "depends_on": ["research", "second"]},
]  # fmt: skip
MEMBERS = ["researcher", "analyst"]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[PoolHouse]:
    agents = (
        definition("researcher"),
        definition("analyst", "continuous"),
        definition("plan", "collaborative", collaboration={"members": MEMBERS, "plan": STEPS}),
        definition("careful", "collaborative", collaboration={"members": MEMBERS, "plan": STEPS, "approve_plan": True}),
        definition("lost", "collaborative", collaboration={"members": ["gone"]}),
    )
    async with pool_house(tmp_path, *agents) as opened:
        yield opened


async def start(house: PoolHouse, agent: str = "plan") -> str:
    return await house.state.queue(agent, mode="collaborative", input="gold", reply=True)


async def test_steps_go_to_members_and_their_outputs_to_later_steps(house: PoolHouse) -> None:
    run_id = await start(house)
    async with house.running():
        result = await house.until(run_id, RunStatus.SUCCEEDED)
    assert result.output == "find gold / also gold"
    children = await house.state.queries.children(run_id)
    assert [child.run.step_id for child in children] == ["research", "second", "judge"]
    assert {child.run.trace_id for child in children} == {result.run.trace_id}
    assert [child.run.depth for child in children] == [1, 1, 1]
    state = await house.state.states.load_plan_run_state(run_id)
    assert (state.status, state.version) == ("succeeded", result.run.fencing)


async def test_while_its_steps_work_the_plan_holds_no_slot(house: PoolHouse) -> None:
    house.engine.does = hangs
    run_id = await start(house)
    async with house.running():
        await house.until_begun(2)
        await house.until(run_id, RunStatus.WAITING)
        assert house.pools["collaborative"].active == 0


async def test_a_step_that_fails_ends_the_plan_and_its_other_steps(house: PoolHouse) -> None:
    async def one_fails(work: Work) -> Outcome:
        if "find" in work.input:
            return Failed(code="no", message="nothing there", retryable=False, usage=Usage())
        return await hangs(work)

    house.engine.does = one_fails
    run_id = await start(house)
    async with house.running():
        result = await house.until(run_id, RunStatus.FAILED)
        assert result.error is not None
        assert result.error.message == "step 'research' failed: nothing there"
        house.pool.cancel((await house.state.processes.beat("p1")).cancelled)

        async def ended() -> bool:
            return all(child.run.status.terminal for child in await house.state.queries.children(run_id))

        await wait_until(ended, "the other step was cancelled")


async def test_a_plan_that_wants_approval_shows_it_first(house: PoolHouse) -> None:
    run_id = await start(house, "careful")
    async with house.running():
        await house.until(run_id, RunStatus.WAITING)
        assert await house.state.queries.children(run_id) == []
        (asked,) = await house.state.store.clarifications("default", "asked")
        assert "1. research (researcher)" in asked.question
        await house.state.answer(run_id, True)
        await house.until(run_id, RunStatus.SUCCEEDED)
        refused = await start(house, "careful")
        await house.until(refused, RunStatus.WAITING)
        await house.state.answer(refused, False)
        result = await house.until(refused, RunStatus.FAILED)
    assert result.error is not None
    assert result.error.code == "plan_refused"


async def test_a_plan_without_its_members_fails_by_name(house: PoolHouse) -> None:
    run_id = await start(house, "lost")
    async with house.running():
        result = await house.until(run_id, RunStatus.FAILED)
    assert result.error is not None
    assert (result.error.code, "gone" in result.error.message) == ("no_members", True)


async def test_cancelling_a_plan_cancels_what_is_under_way(house: PoolHouse) -> None:
    house.engine.does = hangs
    run_id = await start(house)
    async with house.running():
        await house.until_begun(2)
        await house.until(run_id, RunStatus.WAITING)
        await house.state.store.request_cancel(run_id, TESS)
        house.pool.cancel((await house.state.processes.beat("p1")).cancelled)
        for child in await house.state.queries.children(run_id):
            await house.until(child.run.run_id, RunStatus.CANCELLED)
    assert await house.state.status(run_id) is RunStatus.CANCELLED
