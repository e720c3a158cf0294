"""Letting go of a run: once, by its owner, with everything that it causes (rules 5 and 6, R7, I6)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from callboard.errors import FencedError, InvalidInputError, VersionConflictError
from callboard.state.agent_state import StateSave
from callboard.state.effects import EffectDraft, EffectStatus
from callboard.state.finishing import ProgressDraft
from callboard.state.journal_store import Checkpoint
from callboard.state.models import agent_states, deliveries, progress, run_messages, runs
from callboard.state.runs import Run, RunError, RunStatus, Usage, WaitingKind
from tests.support.state_house import StateHouse, claim_of

TABLES = (agent_states, deliveries, run_messages, runs, progress)


async def test_a_finished_run_has_its_output_and_tells_so_in_one_go(house: StateHouse) -> None:
    run = await house.start(reply=True)
    await house.later(seconds=3)
    status = await house.settle(run, output={"n": 1}, usage=Usage(input_tokens=3, output_tokens=4), cost_usd=0.5)
    assert status is RunStatus.SUCCEEDED
    result = await house.result(run.run_id)
    assert (result.output, result.error) == ({"n": 1}, None)
    assert result.run.finished_at == house.clock.now()
    assert (result.run.usage, result.run.cost_usd) == (Usage(input_tokens=3, output_tokens=4), 0.5)
    assert house.announced.topics()[-1] == "run.succeeded.echo"
    (delivery,) = await house.rows(deliveries)
    assert (delivery["kind"], delivery["run_id"], delivery["status"]) == ("result", run.run_id, "planned")


async def test_usage_and_cost_of_all_attempts_add_up(house: StateHouse) -> None:
    run = await house.start()
    await house.journals.append(
        claim_of(run), Checkpoint(messages=(), usage=Usage(input_tokens=1, output_tokens=1), cost_usd=0.25)
    )
    await house.settle(run, RunStatus.QUEUED, failure=True, usage=Usage(input_tokens=1, output_tokens=1), cost_usd=0.25)
    (again,) = await house.claim()
    await house.settle(again.run, usage=Usage(input_tokens=1, output_tokens=1), cost_usd=0.5)
    done = await house.run(run.run_id)
    assert (done.usage, done.cost_usd) == (Usage(input_tokens=3, output_tokens=3), 1.0)


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.TIMED_OUT])
async def test_a_run_that_did_not_succeed_says_why(house: StateHouse, status: RunStatus) -> None:
    run = await house.start(reply=True)
    await house.settle(run, status, error=RunError(code="boom", message="it broke"))
    result = await house.result(run.run_id)
    assert (result.run.status, result.error) == (status, RunError(code="boom", message="it broke"))
    assert [row["kind"] for row in await house.rows(deliveries)] == ["failure"]
    assert house.announced.events[-1].payload["error"] == {"code": "boom", "message": "it broke"}


async def _zombie(house: StateHouse) -> tuple[Run, Run]:
    """A run as its former owner knows it, and as its present one does."""
    old = await house.start(process="p1", order="echo/1")
    await house.processes.declare_dead(["p1"])
    (taken,) = await house.claim("p2")
    return old, taken.run


async def test_a_late_settlement_is_dropped_whole(house: StateHouse) -> None:
    """A zombie that goes on writes nothing: no state, no children, no progress, no deliveries, no status."""
    old, new = await _zombie(house)
    before = [await house.rows(table) for table in TABLES]
    save = StateSave(agent="echo", conversation_id="1", expected=0, memory={"a": 1}, appended=("m",), turns=1)
    late = house.settlement(
        old,
        RunStatus.WAITING,
        state=save,
        messages=("m",),
        waiting_kind=WaitingKind.STEPS,
        children=(house.child(old, "one"),),
        progress=(ProgressDraft(kind="step", data={}),),
    )
    house.announced.events.clear()
    for settlement in (late, house.settlement(old, output="late", state=save)):
        with pytest.raises(FencedError):
            await house.store.settle(settlement)
    assert [await house.rows(table) for table in TABLES] == before
    assert house.announced.events == []
    assert await house.settle(new, output="right") is RunStatus.SUCCEEDED


async def test_a_zombie_is_refused_even_before_somebody_else_has_the_run(house: StateHouse) -> None:
    run = await house.start(process="p1")
    await house.processes.declare_dead(["p1"])
    with pytest.raises(FencedError):
        await house.settle(run, output="late")
    assert await house.status(run.run_id) is RunStatus.QUEUED


@pytest.mark.parametrize("late", ["append", "begin_effect", "end_effect", "progress"])
async def test_C8_everything_else_that_a_zombie_writes_is_refused_too(house: StateHouse, late: str) -> None:
    old, _ = await _zombie(house)
    claim, effect = claim_of(old), EffectDraft(key="/0/0", tool="send", digest="d", idempotent=False)
    before = [await house.rows(table) for table in TABLES]
    checkpoint = Checkpoint(messages=("m",))
    writes: dict[str, Callable[[], Awaitable[object]]] = {
        "append": lambda: house.journals.append(claim, checkpoint),
        "begin_effect": lambda: house.journals.begin_effect(claim, effect, repeat=False),
        "end_effect": lambda: house.journals.end_effect(claim, effect, EffectStatus.DONE, "r", checkpoint),
        "progress": lambda: house.journals.add_progress(claim, [("note", {})]),
    }
    with pytest.raises(FencedError):
        await writes[late]()
    assert [await house.rows(table) for table in TABLES] == before


async def test_C8_an_effect_that_was_done_is_known_to_the_next_owner(house: StateHouse) -> None:
    run = await house.start(process="p1")
    effect = EffectDraft(key="/0/0", tool="send", digest="d", idempotent=False)
    assert await house.journals.begin_effect(claim_of(run), effect, repeat=False) is None
    await house.journals.end_effect(claim_of(run), effect, EffectStatus.DONE, "sent", Checkpoint(messages=("m1",)))
    other = replace(effect, key="/0/1")
    assert await house.journals.begin_effect(claim_of(run), other, repeat=False) is None
    await house.processes.declare_dead(["p1"])
    (taken,) = await house.claim("p2")
    claim = claim_of(taken.run)
    done = await house.journals.begin_effect(claim, effect, repeat=False)
    unknown = await house.journals.begin_effect(claim, other, repeat=False)
    assert done is not None
    assert unknown is not None
    assert (done.status, done.result) == (EffectStatus.DONE, "sent")
    assert (unknown.status, unknown.fencing) == (EffectStatus.ATTEMPTING, run.fencing)
    assert await house.journals.begin_effect(claim, other, repeat=True) is None
    assert await house.journals.entries(run.run_id, 0) == ["m1"]


async def test_an_effect_is_ended_once(house: StateHouse) -> None:
    run = await house.start()
    effect = EffectDraft(key="/0/0", tool="send", digest="d", idempotent=True)
    for result in ("first", "second"):
        await house.journals.end_effect(claim_of(run), effect, EffectStatus.DONE, result, Checkpoint(messages=("m",)))
    assert await house.journals.entries(run.run_id, 0) == ["m"]
    known = await house.journals.begin_effect(claim_of(run), effect, repeat=False)
    assert known is not None
    assert known.result == "first"


@pytest.mark.parametrize("status", [RunStatus.SUCCEEDED, RunStatus.FAILED])
async def test_R7_a_finish_whose_outcome_was_unknown_may_be_repeated(house: StateHouse, status: RunStatus) -> None:
    run = await house.start(reply=True)
    assert await house.settle(run, status, output="x") is status
    told = len(house.announced.events)
    assert await house.settle(run, status, output="x") is status
    assert len(house.announced.events) == told
    assert len(await house.rows(deliveries)) == 1


@pytest.mark.parametrize("end", [status for status in RunStatus if status.terminal])
async def test_a_terminal_status_never_changes(house: StateHouse, end: RunStatus) -> None:
    run = await house.start()
    await house.settle(run, end, output="first")
    for other in RunStatus:
        if other not in (end, RunStatus.RUNNING):
            with pytest.raises(FencedError):
                await house.settle(run, other, output="second")
    await house.processes.declare_dead(["p1"])
    result = await house.result(run.run_id)
    assert (result.run.status, result.output) == (end, "first")


async def test_a_retry_with_a_fresh_context_leaves_the_checkpoint_behind(house: StateHouse) -> None:
    run = await house.start()
    await house.journals.append(claim_of(run), Checkpoint(messages=("a", "b")))
    await house.settle(run, RunStatus.QUEUED, failure=True, fresh_context=True)
    (second,) = await house.claim()
    assert second.run.context_no == 1
    assert await house.journals.entries(run.run_id, 1) == []
    await house.journals.append(claim_of(second.run), Checkpoint(messages=("c",)))
    await house.settle(second.run, RunStatus.QUEUED, failure=True)
    (third,) = await house.claim()
    assert (third.run.context_no, third.run.attempt) == (1, 3)
    assert await house.journals.entries(run.run_id, 1) == ["c"]


async def test_a_run_that_is_handed_back_has_not_failed(house: StateHouse) -> None:
    run = await house.start()
    await house.settle(run, RunStatus.QUEUED)
    (again,) = await house.claim("p2")
    assert (again.run.attempt, again.run.fencing, again.run.lease_losses) == (1, 2, 0)


async def test_the_state_of_an_agent_and_the_end_of_its_run_are_one_write(house: StateHouse) -> None:
    run = await house.start()
    save = StateSave(agent="echo", conversation_id="1", expected=5, memory={}, appended=(), turns=1)
    with pytest.raises(VersionConflictError):
        await house.settle(run, state=save, output="x")
    assert await house.status(run.run_id) is RunStatus.RUNNING
    assert await house.rows(agent_states) == []
    await house.settle(run, state=replace(save, expected=0))
    assert (await house.states.load_state("echo", "1")).version == 1


async def test_what_cannot_be_stored_is_refused_whole_and_its_neighbours_are_not(house: StateHouse) -> None:
    started = [await house.start(place="k", places=20) for _ in range(6)]
    outputs = ["a", "b", "\ud800", "d", float("nan"), "f"]
    answers = await asyncio.gather(
        *(house.settle(run, output=output) for run, output in zip(started, outputs, strict=True)),
        return_exceptions=True,
    )
    refused = [index for index, answer in enumerate(answers) if isinstance(answer, InvalidInputError)]
    assert refused == [2, 4]
    assert [await house.status(run.run_id) for run in started].count(RunStatus.RUNNING) == 2


async def test_a_whole_batch_of_settlements_is_told(house: StateHouse) -> None:
    started = [await house.start(place="k", places=20) for _ in range(8)]
    house.announced.events.clear()
    await asyncio.gather(*(house.settle(run) for run in started))
    assert house.announced.topics() == ["run.succeeded.echo"] * 8


async def test_two_settlements_of_one_claim_at_once_are_one(house: StateHouse) -> None:
    run = await house.start()
    answers = await asyncio.gather(
        house.settle(run, RunStatus.SUCCEEDED, output="a"),
        house.settle(run, RunStatus.FAILED, error=RunError(code="x", message="y")),
        return_exceptions=True,
    )
    assert [isinstance(answer, FencedError) for answer in answers] == [False, True]
    assert (await house.result(run.run_id)).output == "a"


async def test_an_agent_s_output_and_a_plan_s_end_have_their_own_topics(house: StateHouse) -> None:
    for mode, topic in (("continuous", "agent.output.echo"), ("collaborative", "collaboration.completed.{}")):
        run = await house.start(mode=mode)
        await house.settle(run, output="text")
        assert topic.format(run.run_id) in house.announced.topics()
        assert house.announced.events[-1].payload["text"] == "text"


async def test_progress_lines_are_numbered_without_a_gap(house: StateHouse) -> None:
    run = await house.start()
    await asyncio.gather(*(house.journals.add_progress(claim_of(run), [("note", {"i": i})]) for i in range(10)))
    await house.settle(run)
    lines = await house.queries.progress(run.run_id)
    assert [line.n for line in lines] == list(range(1, 12))
    assert [line.kind for line in lines] == ["note"] * 10 + ["status"]


async def test_who_watches_a_run_is_told_its_end_with_its_last_lines(house: StateHouse) -> None:
    run = await house.start()
    claim = claim_of(run)
    assert await house.queries.watched(run.run_id, 0, 10) == ([], False)
    await house.journals.add_progress(claim, [("text", {"text": word}) for word in ("a", "b", "c")])
    lines, ended = await house.queries.watched(run.run_id, 0, 2)
    assert ([line.n for line in lines], ended) == ([1, 2], False)
    assert lines == (await house.queries.progress(run.run_id))[:2]
    await house.settle(run)
    lines, ended = await house.queries.watched(run.run_id, 2, 10)
    assert ([line.kind for line in lines], ended) == (["text", "status"], True)
    assert (await house.queries.watched(run.run_id, 0, 2))[1] is False
    assert await house.queries.watched(run.run_id, 4, 10) == ([], True)
    assert await house.queries.watched(run.run_id, 0, 10, tenant="other") == ([], False)
