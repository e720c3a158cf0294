"""Tasks that one agent hands to another: runs that the first one waits for, without a slot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from callboard.agents.engine import Failed, Outcome, Usage, Work
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.agents.tools.run_agent import run_agent_tool
from callboard.agents.tools.tool import ToolTraits
from callboard.config.definition import AgentDefinition
from callboard.errors import InvalidInputError
from callboard.state.runs import RunResult, RunStatus, WaitingKind
from tests.support.pool_house import PoolHouse, definition, hangs, pool_house
from tests.support.state_house import TESS
from tests.support.waiting import wait_until
from tests.unit.agents.engine_parts import Counter

ENGINE = ToolLoopEngine()


def boss(name: str, *agents: str, to: str = "helper", mode: str = "autonomous", **more: Any) -> AgentDefinition:
    rule = {"call": {"tool": "run_agent", "args": {"agent": to, "task": "{input}"}}, "say": "I heard: {result}"}
    return definition(
        name,
        mode,
        llm_config={**SCRIPT, "script": [rule]},
        tools=[{"name": "run_agent", "with": {"agents": list(agents or (to,))}}, *more.pop("tools", [])],
        **more,
    )


def _page(_options: Mapping[str, JsonValue]) -> Counter:
    return Counter(name="page", idempotent=True, result="evil", traits=ToolTraits(reads_untrusted=True))


SCRIPT = {"provider": "scripted", "model_id": "script"}
STEP = {"id": "a", "agent": "helper"}
READER = {"call": {"tool": "page", "args": {"text": "x"}}, "say": "read: {result}"}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[PoolHouse]:
    agents = (
        definition("helper"),
        definition("talker", "continuous"),
        definition("planner", "collaborative", collaboration={"members": ["helper"], "plan": [STEP]}),
        definition("reader", llm_config={**SCRIPT, "script": [READER]}, tools=["page"]),
        boss("boss"),
        boss("chatty", mode="continuous"),
        boss("asks-talker", to="talker"),
        boss("asks-planner", to="planner"),
        boss("asks-reader", to="reader"),
        boss("stranger", "helper", "gone", to="gone"),
        boss("mirror", to="mirror"),
    )
    async with pool_house(tmp_path, *agents, tools={"page": _page}) as opened:
        opened.engine.does = ENGINE.execute
        yield opened


async def ended(house: PoolHouse, agent: str, mode: str = "autonomous") -> RunResult:
    run_id = await house.state.queue(agent, mode=mode, input="the task", reply=True)
    async with house.running():
        return await house.until(run_id, RunStatus.SUCCEEDED)


async def test_the_answer_of_the_other_agent_is_the_result(house: PoolHouse) -> None:
    result = await ended(house, "boss")
    assert result.output == "I heard: the task"
    (child,) = await house.state.queries.children(result.run.run_id)
    assert (child.run.agent, child.input, child.run.depth, child.run.hops) == ("helper", "the task", 1, 1)
    assert child.run.root == result.run.run_id
    assert child.run.trace_id == result.run.trace_id


@pytest.mark.parametrize(("agent", "mode"), [("chatty", "continuous"), ("asks-talker", "autonomous")])
async def test_continuous_agents_hand_on_and_are_handed_to(house: PoolHouse, agent: str, mode: str) -> None:
    assert (await ended(house, agent, mode)).output == "I heard: the task"


async def test_a_continuous_agent_takes_a_task_in_a_conversation_of_its_own(house: PoolHouse) -> None:
    result = await ended(house, "asks-talker")
    (child,) = await house.state.queries.children(result.run.run_id)
    assert child.run.conversation_id == f"task:{result.run.run_id}"
    assert child.run.order_key == f"talker/task:{result.run.run_id}"


async def test_a_plan_can_be_handed_a_task(house: PoolHouse) -> None:
    assert (await ended(house, "asks-planner")).output == "I heard: the task"


async def test_while_the_other_works_the_first_holds_no_slot(house: PoolHouse) -> None:
    async def only_bosses(work: Work) -> Outcome:
        if work.agent == "boss":
            return await ENGINE.execute(work)
        raise AssertionError("nobody has let it begin")

    house.engine.does = only_bosses
    run_id = await house.state.queue("boss", input="x")
    async with house.running():
        found = await house.until(run_id, RunStatus.WAITING)
    assert found.run.waiting_for is not None
    assert found.run.waiting_for.kind is WaitingKind.STEPS


async def test_a_task_that_failed_is_told_with_the_reason(house: PoolHouse) -> None:
    async def helper_fails(work: Work) -> Outcome:
        if work.agent == "helper":
            return Failed(code="broken", message="no tools today", retryable=False, usage=Usage())
        return await ENGINE.execute(work)

    house.engine.does = helper_fails
    result = await ended(house, "boss")
    assert result.output == "I heard: Error: helper did not succeed (failed): no tools today"


async def test_an_agent_that_is_not_there_is_told(house: PoolHouse) -> None:
    assert "there is no agent 'gone'" in (await ended(house, "stranger")).output


@pytest.mark.slow
async def test_H8_agents_that_call_each_other_for_ever_are_stopped(house: PoolHouse) -> None:
    run_id = await house.state.queue("mirror", input="the task")

    async def over() -> RunResult | None:
        await house.later(1.0, step=0.5)
        found = await house.state.queries.result(run_id)
        return found if found is not None and found.run.status.terminal else None

    async with house.running():
        result = await wait_until(over, "the last one ends", within=40.0)
    assert result is not None
    assert "handed on 5 times at the most" in result.output
    assert result.output.count("I heard") == 6


async def test_cancelling_ends_the_task_too(house: PoolHouse) -> None:
    async def hangs_below(work: Work) -> Outcome:
        if work.agent == "boss":
            return await ENGINE.execute(work)
        return await hangs(work)

    house.engine.does = hangs_below
    run_id = await house.state.queue("boss", input="x")
    async with house.running():
        await house.until(run_id, RunStatus.WAITING)
        (child,) = await house.state.queries.children(run_id)
        await house.until(child.run.run_id, RunStatus.RUNNING)
        await house.state.store.request_cancel(run_id, TESS)
        (child,) = await house.state.queries.children(run_id)
        assert child.run.cancel_requested, "whoever works on it is told"
        for pool in house.pools.values():
            pool.cancel(frozenset([child.run.run_id]))
        await house.until(child.run.run_id, RunStatus.CANCELLED)
        await house.until(run_id, RunStatus.CANCELLED)


async def test_H2_what_the_other_agent_has_read_taints_the_first(house: PoolHouse) -> None:
    result = await ended(house, "asks-reader")
    assert result.output == "I heard: read: evil"
    bosses = [work for work in house.engine.seen if work.agent == "asks-reader"]
    assert [work.tainted for work in bosses] == [False, True]


async def test_a_handed_task_is_in_the_ledger_so_that_no_fresh_start_repeats_it(house: PoolHouse) -> None:
    result = await ended(house, "boss")
    assert len(await house.state.queries.children(result.run.run_id)) == 1
    assert await house.state.journals.has_lasting_effect(result.run.run_id, 0)


async def test_an_ended_task_of_an_earlier_attempt_does_not_wake_the_next_one_over_and_over(house: PoolHouse) -> None:
    failed: list[str] = []

    async def forgets_once(work: Work) -> Outcome:
        if work.agent == "boss" and work.handed and not failed:
            failed.append(work.run_id)
            return Failed(code="model", message="no", retryable=True, usage=Usage())
        if work.agent == "helper" and failed:
            return await hangs(work)
        return await ENGINE.execute(work)

    house.engine.does = forgets_once
    run_id = await house.state.queue("boss", input="x")
    async with house.running():

        async def handed_twice() -> bool:
            await house.later(0.5)
            return len(await house.state.queries.children(run_id)) == 2

        await wait_until(handed_twice, "the task is handed on anew")
        await house.until(run_id, RunStatus.WAITING)
        before = len(house.engine.seen)
        await house.later(5.0)
        assert len([work for work in house.engine.seen[before:] if work.agent == "boss"]) == 0


@pytest.mark.parametrize("options", [{}, {"agents": []}, {"agents": "a"}, {"agents": [1]}, {"agents": ["a"], "x": 1}])
def test_options_that_make_no_sense_are_refused(options: dict[str, JsonValue]) -> None:
    with pytest.raises(InvalidInputError, match="run_agent"):
        run_agent_tool(options)
