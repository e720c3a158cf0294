"""What plans can do beside one step after the other: lists, plans within plans, approval with changes, revisions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callboard.agents.engine import Asked, Failed, Outcome, Question, Usage, Work
from callboard.errors import InvalidInputError
from callboard.state.models import plan_revisions, progress
from callboard.state.plans import StepStatus
from callboard.state.runs import RunResult, RunStatus, WaitingKind
from tests.support.pool_house import PoolHouse, definition, hangs, pool_house, succeeded
from tests.support.state_house import TESS
from tests.support.waiting import wait_until

LISTED = [
    {"id": "each", "agent": "worker", "for_each": "${input.cities}", "as": "city", "input": "see ${city}"},
    {"id": "end", "agent": "worker", "input": "${step.each.output}"},
]
NESTED = [
    {"id": "sub", "input": "for ${input}", "plan": [
        {"id": "one", "agent": "worker", "input": "1 ${input}"},
        {"id": "two", "agent": "team", "input": "2 ${step.one.output}"},
    ]},
]  # fmt: skip
TEAM = [{"id": "deep", "agent": "worker", "input": "deep ${input}"}]
FRAGILE = [
    {"id": "first", "agent": "worker", "input": "go"},
    {"id": "breaks", "agent": "worker", "input": "break it", "depends_on": ["first"]},
]
INSTEAD = {"steps": [{"id": "instead", "agent": "worker", "input": "after ${step.first.output}"}]}


def coordinator(name: str, members: list[str], **parts: Any) -> Any:
    return definition(name, "collaborative", collaboration={"members": members, **parts})


def planner(name: str, *rules: dict[str, Any], **parts: Any) -> Any:
    model = {"provider": "scripted", "model_id": "script", "script": [*rules, {"say": "{input}"}]}
    return definition(name, "collaborative", llm_config=model, collaboration={"members": ["worker"], **parts})


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[PoolHouse]:
    changes = {"when": "step 'breaks' failed", "say": json.dumps(INSTEAD)}
    agents = (
        definition("worker"),
        coordinator("listed", ["worker"], plan=LISTED),
        coordinator("nested", ["worker", "team"], plan=NESTED),
        coordinator("team", ["worker"], plan=TEAM),
        coordinator("careful", ["worker"], plan=TEAM, approve_plan=True),
        coordinator("summed", ["worker", "team"], plan=FRAGILE[:1] + TEAM, aggregate={"agent": "worker"}),
        planner("fragile", changes, plan=FRAGILE, max_revisions=1),
        planner("wary", changes, plan=FRAGILE, max_revisions=1, approve_plan=True),
        planner("rubbish", {"when": "step 'breaks' failed", "say": '{"steps": []}'}, plan=FRAGILE, max_revisions=1),
        planner("planned", {"when": "failed", "say": json.dumps(INSTEAD)}, {"say": json.dumps({"steps": FRAGILE})}),
    )
    async with pool_house(tmp_path, *agents) as opened:
        opened.engine.does = breaks
        yield opened


async def breaks(work: Work) -> Outcome:
    if work.input == "break it":
        return Failed(code="no", message="it broke", retryable=False, usage=Usage())
    return succeeded(work.input)


async def start(house: PoolHouse, agent: str, given: Any = "gold") -> str:
    return await house.state.queue(agent, mode="collaborative", input=given, reply=True)


async def ended(
    house: PoolHouse, agent: str, given: Any = "gold", status: RunStatus = RunStatus.SUCCEEDED
) -> RunResult:
    run_id = await start(house, agent, given)
    async with house.running():
        return await house.until(run_id, status)


async def steps_of(house: PoolHouse, run_id: str) -> list[str | None]:
    return [child.run.step_id for child in await house.state.queries.children(run_id)]


async def test_a_step_is_done_once_for_each_item_of_a_list(house: PoolHouse) -> None:
    result = await ended(house, "listed", {"cities": ["Oslo", "Rome"]})
    assert json.loads(result.output) == ["see Oslo", "see Rome"]
    assert await steps_of(house, result.run.run_id) == ["each[0]", "each[1]", "end"]
    assert {work.step for work in house.engine.seen} == {"each[0]", "each[1]", "end"}


async def test_a_step_may_be_a_plan_and_a_member_may_have_one(house: PoolHouse) -> None:
    result = await ended(house, "nested")
    assert result.output == "deep 2 1 for gold"
    (sub,) = await house.state.queries.children(result.run.run_id)
    assert (sub.run.agent, sub.run.step_id) == ("nested", "sub")
    assert await steps_of(house, sub.run.run_id) == ["one", "two"]
    deepest = house.engine.seen[-1]
    assert (deepest.depth, deepest.root_run_id) == (3, result.run.run_id)


async def test_a_cancelled_plan_takes_the_items_of_its_list_with_it(house: PoolHouse) -> None:
    house.engine.does = hangs
    run_id = await start(house, "listed", {"cities": ["Oslo", "Rome", "Lima"]})
    async with house.running():
        await house.until_begun(3)
        await house.until(run_id, RunStatus.WAITING)
        await house.state.store.request_cancel(run_id, TESS)
        house.pool.cancel((await house.state.processes.beat("p1")).cancelled)
        for child in await house.state.queries.children(run_id):
            await house.until(child.run.run_id, RunStatus.CANCELLED)
    assert await house.state.status(run_id) is RunStatus.CANCELLED


async def test_a_member_that_puts_it_together_is_given_the_goal_and_the_outputs(house: PoolHouse) -> None:
    result = await ended(house, "summed")
    assert json.loads(result.output["answer"]) == {
        "goal": "gold",
        "results": {"first": "go", "deep": "deep gold"},
    }
    assert [(each["step"], each["agent"], each["output"]) for each in result.output["sources"]] == [
        ("first", "worker", "go"),
        ("deep", "worker", "deep gold"),
    ]


async def test_a_plan_is_changed_after_a_failure_and_keeps_what_is_done(house: PoolHouse) -> None:
    result = await ended(house, "fragile")
    assert result.output == "after go"
    assert await steps_of(house, result.run.run_id) == ["first", "breaks", "instead"]
    plan = await house.state.states.load_plan(result.run.run_id)
    assert plan is not None
    assert (plan.revision, [step.id for step in plan.steps]) == (1, ["first", "instead"])
    (change,) = await house.state.rows(plan_revisions)
    assert change["reason"] == "step 'breaks' failed: it broke"
    told = [row for row in await house.state.rows(progress) if row["run_id"] == result.run.run_id]
    assert [row["data"]["revision"] for row in told if row["kind"] == "plan"] == [0, 1]
    assert [row["data"]["purpose"] for row in told if row["kind"] == "model_call"] == ["revision"]


async def test_a_planner_s_own_plan_may_be_changed_once(house: PoolHouse) -> None:
    result = await ended(house, "planned")
    assert result.output == "after go"
    assert result.run.usage.input_tokens > 0


async def test_G1_a_planner_that_finds_no_other_way_fails_with_both_reasons(house: PoolHouse) -> None:
    result = await ended(house, "rubbish", status=RunStatus.FAILED)
    assert result.error is not None
    assert result.error.code == "step_failed"
    assert "step 'breaks' failed: it broke" in result.error.message
    assert "no usable plan in 3 tries" in result.error.message


async def test_a_changed_plan_is_approved_anew(house: PoolHouse) -> None:
    run_id = await start(house, "wary")
    async with house.running():
        await house.until(run_id, RunStatus.WAITING)
        await house.state.answer(run_id, True)
        asked = await wait_until(lambda: _asked(house, "changed plan"), "the changed plan is shown")
        assert asked.details["revision"] == 1
        await house.state.answer(run_id, True)
        result = await house.until(run_id, RunStatus.SUCCEEDED)
    assert result.output == "after go"


async def test_a_person_may_send_another_plan_and_hears_what_is_wrong_with_it(house: PoolHouse) -> None:
    run_id = await start(house, "careful")
    async with house.running():
        asked = await wait_until(lambda: _asked(house, "Shall this plan"), "the plan is shown")
        assert (asked.purpose, asked.details["plan"]["steps"][0]["id"]) == ("plan", "deep")
        for wrong in ({"approved": "yes"}, {"approved": True, "plan": "text"}, {"approved": True, "arguments": {}}):
            with pytest.raises(InvalidInputError):
                await house.state.answer(run_id, wrong)
        bad = {"steps": [{"id": "mine", "agent": "nobody"}]}
        await house.state.answer(run_id, {"approved": True, "plan": bad})
        await wait_until(lambda: _asked(house, "'nobody' is none of worker"), "its problem is told")
        good = {"steps": [{"id": "mine", "agent": "worker", "input": "my ${input}"}]}
        await house.state.answer(run_id, {"approved": True, "plan": good})
        result = await house.until(run_id, RunStatus.SUCCEEDED)
    assert result.output == "my gold"
    assert await steps_of(house, run_id) == ["mine"]
    assert [row["revision"] for row in await house.state.rows(plan_revisions)] == [1]


async def test_a_plan_that_is_rejected_says_why(house: PoolHouse) -> None:
    run_id = await start(house, "careful")
    async with house.running():
        await house.until(run_id, RunStatus.WAITING)
        await house.state.answer(run_id, {"approved": False, "reason": "too dear"})
        result = await house.until(run_id, RunStatus.FAILED)
    assert result.error is not None
    assert (result.error.code, "too dear" in result.error.message) == ("plan_refused", True)
    assert await steps_of(house, run_id) == []


async def test_a_step_s_approval_is_answered_on_the_plan_s_id(house: PoolHouse) -> None:
    async def asks(work: Work) -> Outcome:
        answer = work.answers.get("ok")
        if answer is None:
            question = Question(key="ok", kind="confirmation", text="May I?", purpose="approval", digest="d")
            return Asked(question=question, usage=Usage())
        return succeeded(f"told {answer.value}")

    house.engine.does = asks
    run_id = await start(house, "team")
    async with house.running():
        await wait_until(lambda: _asked(house, "May I?"), "the step asks")
        (child,) = await house.state.queries.children(run_id)
        waiting = await house.until(child.run.run_id, RunStatus.WAITING)
        assert waiting.run.waiting_for is not None
        assert waiting.run.waiting_for.kind is WaitingKind.APPROVAL
        await house.state.answer(run_id, True)
        result = await house.until(run_id, RunStatus.SUCCEEDED)
    assert result.output == "told True"


async def test_a_process_that_dies_amid_a_move_leaves_a_plan_that_goes_on(house: PoolHouse) -> None:
    run_id = await start(house, "listed", {"cities": ["Oslo", "Rome"]})
    (claimed,) = await house.state.claim("p2", mode="collaborative")
    assert claimed.run.run_id == run_id
    await house.state.processes.declare_dead(["p2"])
    async with house.running():
        result = await house.until(run_id, RunStatus.SUCCEEDED)
    assert await steps_of(house, run_id) == ["each[0]", "each[1]", "end"]
    state = await house.state.states.load_plan_run_state(run_id)
    assert {step.status for step in state.steps.values()} == {StepStatus.SUCCEEDED}
    assert result.run.lease_losses == 1


async def _asked(house: PoolHouse, text: str) -> Any:
    await house.clock.advance(0.05)
    found = await house.state.store.clarifications("default", "asked")
    return next((asked for asked in found if text in asked.question), None)
