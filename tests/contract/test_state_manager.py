"""What agents and plans remember: compare and set, nothing lost, nothing older than one's own save (D5, I6, R12)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.errors import FencedError, InvalidInputError, VersionConflictError
from callboard.state.agent_state import StateSave
from callboard.state.plans import Plan, PlanDraft, PlanRunState, PlanStateSave, PlanStep, StepState, StepStatus
from callboard.state.runs import RunError, RunStatus
from tests.support.sqlite_file import open_sqlite
from tests.support.state_house import TESS, StateHouse


def save(expected: int = 0, **parts: object) -> StateSave:
    base = StateSave(agent="echo", conversation_id="1", expected=expected, memory={}, appended=(), turns=expected + 1)
    return replace(base, **parts)  # type: ignore[arg-type]  # the callers name fields of StateSave


async def test_an_agent_that_remembers_nothing_is_at_version_0(house: StateHouse) -> None:
    state = await house.states.load_state("echo", "1")
    assert (state.version, state.turns, state.memory, state.history) == (0, 0, {}, ())
    assert await house.states.load_latest_agent_state("echo") is None


async def test_a_load_gives_what_was_saved(house: StateHouse) -> None:
    assert await house.states.save_state(save(memory={"city": "Köln"}, appended=("a", {"b": [1]}))) == 1
    assert await house.states.save_state(save(1, memory={"city": "Bonn"}, appended=("c",), run_id="r")) == 2
    state = await house.states.load_state("echo", "1")
    assert (state.version, state.turns, state.messages, state.run_id) == (2, 2, 3, "r")
    assert (state.memory, state.history) == ({"city": "Bonn"}, ("a", {"b": [1]}, "c"))
    assert state.updated_at == house.clock.now()


async def test_the_newest_messages_are_loaded_in_order_and_all_are_kept(house: StateHouse) -> None:
    for version in range(5):
        await house.states.save_state(save(version, appended=(version * 2, version * 2 + 1)))
    assert (await house.states.load_state("echo", "1", newest=3)).history == (7, 8, 9)
    assert (await house.states.load_state("echo", "1")).history == tuple(range(10))


@pytest.mark.parametrize("expected", [0, 2, 7])
async def test_D5_a_save_from_another_version_is_refused_and_saves_nothing(house: StateHouse, expected: int) -> None:
    await house.states.save_state(save(memory={"by": "first"}, appended=("a",)))
    with pytest.raises(VersionConflictError, match="version 1"):
        await house.states.save_state(save(expected, memory={"by": "second"}, appended=("b",)))
    state = await house.states.load_state("echo", "1")
    assert (state.version, state.memory, state.history) == (1, {"by": "first"}, ("a",))


async def test_a_first_save_that_expects_a_past_is_refused(house: StateHouse) -> None:
    with pytest.raises(VersionConflictError, match="version 0"):
        await house.states.save_state(save(3))


async def test_conversations_agents_and_tenants_are_kept_apart(house: StateHouse) -> None:
    await house.states.save_state(save(memory={"n": 1}))
    first = save(memory={"n": 2})
    for other in (
        replace(first, conversation_id="2"),
        replace(first, agent="other"),
        replace(first, tenant="other"),
    ):
        await house.states.save_state(other)
    assert (await house.states.load_state("echo", "1")).memory == {"n": 1}
    assert (await house.states.load_state("echo", "1", tenant="other")).memory == {"n": 2}


async def test_the_latest_state_is_the_conversation_that_was_written_last(house: StateHouse) -> None:
    for conversation in ("a", "b", "c"):
        await house.states.save_state(save(conversation_id=conversation))
        await house.later(seconds=1)
    await house.states.save_state(save(1, conversation_id="b", memory={"x": 1}))
    latest = await house.states.load_latest_agent_state("echo")
    assert latest is not None
    assert (latest.conversation_id, latest.memory) == ("b", {"x": 1})


@pytest.mark.slow
@settings(max_examples=25)
@given(writers=st.lists(st.lists(st.booleans(), min_size=1, max_size=8), min_size=2, max_size=5))
def test_D5_concurrent_saves_lose_no_update(
    tmp_path_factory: pytest.TempPathFactory, writers: list[list[bool]]
) -> None:
    """Each writer appends its own marks, re-reading after a conflict; some read long before they write."""
    asyncio.run(_interleave(tmp_path_factory.mktemp("d5"), writers))


async def _interleave(folder: Path, writers: list[list[bool]]) -> None:
    async with open_sqlite(folder) as database:
        house = StateHouse(database)
        conflicts = 0

        async def write(writer: int, steps: list[bool]) -> None:
            nonlocal conflicts
            for number, patient in enumerate(steps):
                while True:
                    state = await house.states.load_state("echo", "1")
                    if patient:
                        await asyncio.sleep(0)
                    mark = f"{writer}.{number}"
                    memory = {"marks": [*state.memory.get("marks", []), mark]}
                    try:
                        await house.states.save_state(save(state.version, memory=memory, appended=(mark,)))
                    except VersionConflictError:
                        conflicts += 1
                        continue
                    assert (await house.states.load_state("echo", "1")).version > state.version
                    break

        await asyncio.gather(*(write(writer, steps) for writer, steps in enumerate(writers)))
        state = await house.states.load_state("echo", "1", newest=1000)
        wanted = [f"{writer}.{number}" for writer, steps in enumerate(writers) for number in range(len(steps))]
        assert state.version == len(wanted)
        assert list(state.history) == state.memory["marks"]
        assert sorted(state.history) == sorted(wanted)
        for writer, steps in enumerate(writers):
            own = [mark for mark in state.history if mark.startswith(f"{writer}.")]
            assert own == [f"{writer}.{number}" for number in range(len(steps))]


async def test_D4_a_large_memory_comes_back_equal(house: StateHouse) -> None:
    memory = {"text": "wörter " * 200_000, "": None, "nul": "a\x00b"}
    await house.states.save_state(save(memory=memory))
    assert (await house.states.load_state("echo", "1")).memory == memory


async def test_D4_a_memory_that_would_come_back_changed_is_refused_and_leaves_the_old_one(house: StateHouse) -> None:
    await house.states.save_state(save(memory={"n": 1}))
    for wrong in ({"n": float("inf")}, {"n": house.clock.now()}, {"n": b"x"}, {"n": "\ud800"}):
        with pytest.raises(InvalidInputError):
            await house.states.save_state(save(1, memory=wrong))
    assert (await house.states.load_state("echo", "1")).memory == {"n": 1}


async def test_an_execution_result_is_stored_once_and_can_be_loaded(house: StateHouse) -> None:
    run = await house.start()
    assert await house.states.load_execution_result(run.run_id) is None
    settlement = house.settlement(run, output={"n": 1}, cost_usd=0.5)
    assert await house.states.save_execution_result(settlement) is RunStatus.SUCCEEDED
    stored = await house.states.load_execution_result(run.run_id)
    assert stored is not None
    assert (stored.execution_id, stored.agent_id, stored.status) == (run.run_id, "echo", "succeeded")
    assert (stored.output, stored.error, stored.cost_usd) == ({"n": 1}, None, 0.5)
    late = replace(settlement, status=RunStatus.FAILED, error=RunError(code="x", message="y"))
    with pytest.raises(FencedError):
        await house.states.save_execution_result(late)


async def test_a_cancelled_run_s_result_is_its_cancellation(house: StateHouse) -> None:
    run = await house.start()
    await house.store.request_cancel(run.run_id, TESS)
    assert await house.states.save_execution_result(house.settlement(run, output="x")) is RunStatus.CANCELLED
    stored = await house.states.load_execution_result(run.run_id)
    assert stored is not None
    assert (stored.status, stored.output) == ("cancelled", None)


async def test_a_plan_and_how_far_it_has_come(house: StateHouse) -> None:
    run = await house.start(mode="collaborative")
    assert await house.states.load_plan(run.run_id) is None
    assert await house.states.load_plan_run_state(run.run_id) == PlanRunState(run_id=run.run_id)
    plan = Plan(goal="g", origin="file", steps=(PlanStep(id="a", agent="x", input={"q": "${input}"}),))
    steps = {"a": StepState(status=StepStatus.SUCCEEDED, run_id="r", output=[1])}
    state = PlanRunState(run_id=run.run_id, steps=steps)
    await house.settle(
        run,
        RunStatus.QUEUED,
        plan=PlanDraft(run_id=run.run_id, plan=plan),
        plan_state=PlanStateSave(state=state, expected=0),
    )
    assert await house.states.load_plan(run.run_id) == plan
    loaded = await house.states.load_plan_run_state(run.run_id)
    assert (loaded.version, loaded.steps) == (1, steps)
    assert await house.states.update_plan_run_state(PlanStateSave(state=loaded, expected=1)) == 2
    with pytest.raises(VersionConflictError, match="version 2"):
        await house.states.update_plan_run_state(PlanStateSave(state=loaded, expected=1))


async def test_a_plan_is_written_once(house: StateHouse) -> None:
    run = await house.start(mode="collaborative")
    for goal in ("first", "second"):
        plan = Plan(goal=goal, origin="planner", steps=(PlanStep(id="a", agent="x", input="i"),))
        await house.settle(run, RunStatus.QUEUED, plan=PlanDraft(run_id=run.run_id, plan=plan))
        run = (await house.claim(mode="collaborative"))[0].run
    stored = await house.states.load_plan(run.run_id)
    assert stored is not None
    assert stored.goal == "first"
