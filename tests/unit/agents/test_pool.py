"""A pool with agents that misbehave: every run is let go of, with a clear reason, and nothing else suffers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callboard.agents.engine import Asked, Effect, EffectKey, Failed, Fresh, Outcome, Question, Usage, Work
from callboard.llm.provider import Message
from callboard.state.runs import Run, RunStatus
from tests.support.pool_house import PoolHouse, definition, hangs, pool_house, succeeded
from tests.support.state_house import TESS
from tests.support.waiting import wait_until


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[PoolHouse]:
    agents = (definition(), definition("other"), definition("talk", "continuous"))
    async with pool_house(tmp_path, *agents, slots=10) as opened:
        yield opened


async def test_a_run_is_claimed_worked_on_and_finished(house: PoolHouse) -> None:
    run_id = await house.state.queue(input="hello")
    async with house.running():
        result = await house.until(run_id, RunStatus.SUCCEEDED)
    assert (result.output, result.run.usage.output_tokens) == ("hello", 2)
    assert house.engine.seen[0].instructions == ""


async def test_an_agent_that_raises_is_tried_three_times_and_then_failed(
    house: PoolHouse, caplog: pytest.LogCaptureFixture
) -> None:
    async def raises(work: Work) -> Outcome:
        raise RuntimeError(f"attempt {work.attempt}")

    house.engine.does = raises
    run_id = await house.state.queue()
    with caplog.at_level(logging.ERROR):
        async with house.running():
            result = await house.until(run_id, RunStatus.FAILED)
    assert result.error is not None
    assert (result.error.code, result.error.message) == ("crash", "the agent raised RuntimeError: attempt 3")
    assert [work.attempt for work in house.engine.seen] == [1, 2, 3]
    traced = [record for record in caplog.records if record.exc_info and record.exc_info[1]]
    assert len([record for record in traced if "attempt" in str(record.exc_info)]) == 3


async def test_attempts_back_off_and_begin_afresh(house: PoolHouse) -> None:
    async def fails_once(work: Work) -> Outcome:
        await work.journal.append([Message(role="assistant", content="half")], Usage())
        if work.attempt == 1:
            return Failed(code="model", message="no", retryable=True, usage=Usage())
        return succeeded([message.content for message in await work.journal.entries()])

    house.engine.does = fails_once
    run_id = await house.state.queue()
    async with house.running():
        await house.until_begun()
        run = await wait_until(lambda: failed_once(house, run_id), "the first attempt has failed")
        assert run is not None
        assert 0.4 < (run.available_at - house.clock.now()).total_seconds() <= 1.0
        result = await house.until(run_id, RunStatus.SUCCEEDED)
    assert result.output == ["half"]  # of the second attempt alone
    assert result.run.context_no == 1


async def failed_once(house: PoolHouse, run_id: str) -> Run | None:
    run = await house.state.run(run_id)
    return run if run.failures == 1 else None


async def test_a_retry_after_a_lasting_effect_goes_on_from_the_checkpoint(house: PoolHouse) -> None:
    async def acts(work: Work) -> Outcome:
        effect = Effect(
            key=EffectKey(run_id=work.run_id, model_turn=0, index=0),
            tool="send",
            arguments_digest="d",
            idempotent=False,
        )
        known = await work.journal.begin_effect(effect)
        if isinstance(known, Fresh):
            await work.journal.finish_effect(effect, "sent", [Message(role="tool", content="sent", tool_call_id="c")])
            raise TypeError("after the effect")
        return succeeded(str(known))

    house.engine.does = acts
    run_id = await house.state.queue()
    async with house.running():
        result = await house.until(run_id, RunStatus.SUCCEEDED)
    assert result.output == "Done(result='sent')"
    assert result.run.context_no == 0


async def test_F4_an_agent_that_hangs_is_timed_out_and_not_tried_again(house: PoolHouse) -> None:
    house.engine.does = hangs
    run_id = await house.state.queue()
    async with house.running():
        await house.until_begun()
        begun = house.clock.monotonic()
        await house.later(59)
        assert await house.state.status(run_id) is RunStatus.RUNNING
        await house.later(3)
        result = await house.until(run_id, RunStatus.TIMED_OUT)
    assert house.clock.monotonic() - begun < 70
    assert result.error is not None
    assert result.error.message == "the run took longer than its 60 s"
    assert len(house.engine.seen) == 1


async def test_a_cancel_stops_a_running_run(house: PoolHouse) -> None:
    house.engine.does = hangs
    run_id = await house.state.queue()
    async with house.running():
        await house.until_begun()
        await house.state.store.request_cancel(run_id, TESS)
        house.pool.cancel((await house.state.processes.beat("p1")).cancelled)
        await house.until(run_id, RunStatus.CANCELLED)


async def test_a_cancel_that_comes_while_the_end_is_being_stored_does_not_lose_it(house: PoolHouse) -> None:
    """A finish that is on its way is no longer interrupted: the run would stay `running` for ever."""

    async def cancelled_at_the_end(work: Work) -> Outcome:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            loop.call_soon(house.pool.cancel, frozenset({work.run_id}))
            await asyncio.sleep(0)
        return succeeded("done")

    async def soon(work: Work) -> Outcome:
        asyncio.get_running_loop().call_soon(house.pool.cancel, frozenset({work.run_id}))
        return succeeded("done")

    run_ids = []
    async with house.running():
        for does, end in ((soon, RunStatus.SUCCEEDED), (cancelled_at_the_end, RunStatus.CANCELLED)):
            house.engine.does = does
            run_id = await house.state.queue()
            await house.until(run_id, end)
            run_ids.append(run_id)
    assert len(run_ids) == 2


async def test_a_cancel_that_comes_while_it_is_asked_how_to_go_on_after_a_failure_does_not_lose_the_run(
    house: PoolHouse,
) -> None:
    async def fails_once(work: Work) -> Outcome:
        if work.attempt > 1:
            return succeeded("done")
        asyncio.get_running_loop().call_soon(house.pool.cancel, frozenset({work.run_id}))
        return Failed(code="busy", message="try again", retryable=True, usage=Usage())

    house.engine.does = fails_once
    run_id = await house.state.queue()
    async with house.running():
        await house.until(run_id, RunStatus.SUCCEEDED)


@pytest.mark.parametrize(
    ("returned", "code"),
    [
        (None, "empty_answer"),
        (succeeded(None), "empty_answer"),
        (succeeded(""), "empty_answer"),
        ("no outcome at all", "empty_answer"),
        (succeeded("x" * 20_000_000), "output_too_large"),
        (succeeded(["x" * 20_000_000]), "output_too_large"),
        (succeeded(float("nan")), "invalid_input"),
        (succeeded("\ud800"), "invalid_input"),
        (succeeded(object()), "invalid_input"),
    ],
    ids=["none", "null", "empty", "text", "20MB", "20MB-list", "nan", "surrogate", "object"],
)
async def test_what_an_agent_may_not_return_is_a_clear_failure(house: PoolHouse, returned: Any, code: str) -> None:
    async def returns(_work: Work) -> Any:
        return returned

    house.engine.does = returns
    run_id, other = await house.state.queue(), await house.state.queue("other")
    async with house.running():
        result = await house.until(run_id, RunStatus.FAILED)
        await house.until(other, RunStatus.FAILED)
    assert result.error is not None
    assert result.error.code == code
    assert len(result.error.message) < 300


async def test_an_error_that_cannot_be_stored_is_said_all_the_same(
    house: PoolHouse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # a lone surrogate in a captured log is more than pytest-xdist can pass on

    async def raises(_work: Work) -> Outcome:
        raise RuntimeError("\ud800" + "x" * 1_000_000)

    house.engine.does = raises
    run_id = await house.state.queue(max_attempts=1)
    async with house.running():
        result = await house.until(run_id, RunStatus.FAILED)
    assert result.error is not None
    assert "RuntimeError" in result.error.message
    assert len(result.error.message) < 5000


async def test_a_question_that_cannot_be_stored_ends_the_run(house: PoolHouse) -> None:
    async def asks(_work: Work) -> Outcome:
        question = Question(key="q", kind="choice", text="\ud800", options=("\udfff",))
        return Asked(question=question, usage=Usage())

    house.engine.does = asks
    run_id = await house.state.queue()
    async with house.running():
        result = await house.until(run_id, RunStatus.FAILED)
    assert result.error is not None
    assert result.error.code == "not_storable"


async def test_an_agent_that_is_not_in_its_catalog_is_named(house: PoolHouse) -> None:
    run_id = await house.state.queue("gone")
    async with house.running():
        result = await house.until(run_id, RunStatus.FAILED)
    assert result.error is not None
    assert (result.error.code, "gone" in result.error.message) == ("unknown_agent", True)


async def test_a_question_frees_its_slot_and_its_answer_reaches_the_engine(house: PoolHouse) -> None:
    async def asks(work: Work) -> Outcome:
        answer = work.answers.get("city")
        if answer is not None:
            return succeeded(answer.value)
        return Asked(question=Question(key="city", kind="input", text="Which?"), usage=Usage())

    house.engine.does = asks
    run_id = await house.state.queue()
    async with house.running():
        await house.until(run_id, RunStatus.WAITING)
        await wait_until(lambda: house.pool.active == 0, "the slot is free")
        await house.state.answer(run_id, "Bonn")
        result = await house.until(run_id, RunStatus.SUCCEEDED)
    assert result.output == "Bonn"


async def test_no_more_runs_than_slots_are_under_way(house: PoolHouse) -> None:
    house.engine.does = hangs
    for _ in range(15):
        await house.state.queue()
    async with house.running():
        await house.until_begun(10)
        await house.later(5)
        assert len(house.engine.seen) == 10


async def test_batch_work_leaves_the_reserve_free_and_goes_on_without_a_poll(house: PoolHouse) -> None:
    gates: list[asyncio.Event] = []

    async def waits(_work: Work) -> Outcome:
        gates.append(asyncio.Event())
        await gates[-1].wait()
        return succeeded("x")

    house.engine.does = waits
    for _ in range(12):
        await house.state.queue(lane="batch")
    async with house.running():
        await house.until_begun(8)
        await house.later(3)
        assert len(house.engine.seen) == 8
        gates[0].set()
        now = house.clock.monotonic()
        await wait_until(lambda: len(house.engine.seen) == 9, "the ninth has begun")
        assert house.clock.monotonic() == now


async def test_a_process_without_its_lease_begins_nothing(house: PoolHouse) -> None:
    house.leased = False
    await house.state.queue()
    async with house.running():
        await house.later(5)
        assert house.engine.seen == []
        house.leased = True
        await house.until_begun()


async def test_I16_what_is_under_way_at_the_stop_is_handed_back_and_has_not_failed(house: PoolHouse) -> None:
    house.engine.does = hangs
    run_id = await house.state.queue()
    async with house.running():
        await house.until_begun()
        drain = asyncio.ensure_future(house.pool.drain(24.0))
        await house.later(23)
        assert await house.state.status(run_id) is RunStatus.RUNNING
        await house.later(2)
        await house.until(run_id, RunStatus.QUEUED)
        await asyncio.wait_for(drain, 30)
    run = await house.state.run(run_id)
    assert (run.failures, run.lease_losses, run.fencing) == (0, 0, 1)


async def test_I16_what_ends_in_time_is_waited_for(house: PoolHouse) -> None:
    gate = asyncio.Event()

    async def waits(_work: Work) -> Outcome:
        await gate.wait()
        return succeeded("in time")

    house.engine.does = waits
    run_id, late = await house.state.queue(), None
    async with house.running():
        await house.until_begun()
        drain = asyncio.ensure_future(house.pool.drain(24.0))
        await house.later(1)
        late = await house.state.queue()
        gate.set()
        await asyncio.wait_for(drain, 30)
        assert await house.state.status(run_id) is RunStatus.SUCCEEDED
        assert await house.state.status(late) is RunStatus.QUEUED


async def test_a_run_that_has_gone_to_another_owner_is_let_go_of_quietly(house: PoolHouse) -> None:
    gate = asyncio.Event()

    async def waits(_work: Work) -> Outcome:
        await gate.wait()
        return succeeded("from a zombie")

    house.engine.does = waits
    run_id = await house.state.queue()
    async with house.running():
        await house.until_begun()
        house.leased = False
        await house.state.processes.declare_dead(["p1"])
        (taken,) = await house.state.claim("p2")
        gate.set()
        await house.later(2)
    await house.state.settle(taken.run, output="right")
    assert (await house.state.result(run_id)).output == "right"


async def test_I5_runs_of_an_autonomous_agent_share_nothing(house: PoolHouse) -> None:
    async def remembers(work: Work) -> Outcome:
        assert await work.journal.entries() == ()
        await work.journal.append([Message(role="assistant", content=work.input)], Usage())
        return succeeded(work.input, Message(role="user", content=work.input))

    house.engine.does = remembers
    run_ids = [await house.state.queue(input=f"secret {n}", conversation="same") for n in range(5)]
    async with house.running():
        results = [await house.until(run_id, RunStatus.SUCCEEDED) for run_id in run_ids]
    assert [result.output for result in results] == [f"secret {n}" for n in range(5)]
    assert all((work.history, work.turn) == ((), 1) for work in house.engine.seen)
    assert await house.state.states.load_latest_agent_state("echo") is None


async def test_a_continuous_agent_remembers_what_it_finished_and_nothing_else(house: PoolHouse) -> None:
    async def talks(work: Work) -> Outcome:
        if work.input == "fail":
            return Failed(code="no", message="no", retryable=False, usage=Usage())
        said = [message.content for message in work.history]
        return succeeded(f"{work.turn}: {said}", Message(role="user", content=work.input))

    house.engine.does = talks
    talk = {"mode": "continuous", "order": "talk/1", "conversation": "1"}
    run_ids = [await house.state.queue("talk", input=text, **talk) for text in ("a", "fail", "b")]
    async with house.running():
        assert (await house.until(run_ids[0], RunStatus.SUCCEEDED)).output == "1: []"
        await house.until(run_ids[1], RunStatus.FAILED)
        assert (await house.until(run_ids[2], RunStatus.SUCCEEDED)).output == "2: ['a']"
    assert (await house.state.states.load_state("talk", "1")).version == 2


async def test_an_agent_that_was_idle_for_ten_minutes_gives_its_memory_back(house: PoolHouse) -> None:
    run_id = await house.state.queue()
    async with house.running():
        await house.until(run_id, RunStatus.SUCCEEDED)
        await house.later(560, step=10)
        assert house.pool.roster.names() == {"echo"}
        await house.later(80, step=10)
        assert house.pool.roster.names() == set()
        again = await house.state.queue()
        await house.until(again, RunStatus.SUCCEEDED)
