"""Waiting holds no process: questions, answers and steps, in whatever order they race (rule 7, R18, R21)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from callboard.errors import ConflictError, InvalidInputError, NotFoundError
from callboard.state.clarifications import ClarificationKind, ClarificationStatus
from callboard.state.models import deliveries, operations
from callboard.state.runs import Run, RunError, RunStatus, WaitingKind
from tests.support.state_house import StateHouse, question


async def test_a_run_with_a_question_waits_and_shows_for_what(house: StateHouse) -> None:
    run = await house.start(reply=True)
    assert await house.ask(run, waiting_kind=WaitingKind.CLARIFICATION) is RunStatus.WAITING
    waiting = await house.run(run.run_id)
    assert waiting.waiting_for is not None
    assert (waiting.waiting_for.kind, waiting.waiting_for.since) == (WaitingKind.CLARIFICATION, house.clock.now())
    (asked,) = await house.store.clarifications("default", "asked")
    assert waiting.waiting_for.id == asked.id
    assert [row["kind"] for row in await house.rows(deliveries)] == ["question"]
    assert "clarification.asked" in house.announced.topics()
    assert await house.claim() == []


async def test_an_answer_makes_the_run_claimable_at_once(house: StateHouse) -> None:
    run = await house.start()
    await house.ask(run)
    answered = await house.answer(run.run_id, "Berlin")
    assert (answered.status, answered.answer, answered.answered_by) == (ClarificationStatus.ANSWERED, "Berlin", "tess")
    assert "run.requested.autonomous.interactive" in house.announced.wakes
    assert "clarification.answered" in house.announced.topics()
    (again,) = await house.claim("p2")
    assert (again.run.run_id, again.run.attempt, again.run.fencing) == (run.run_id, 1, 2)
    assert [known.answer for known in await house.store.answers_of(run.run_id)] == ["Berlin"]
    assert [row["action"] for row in await house.rows(operations)] == ["clarification.answer"]


async def test_A5_of_two_answers_at_once_the_first_wins_and_the_second_is_told_who(house: StateHouse) -> None:
    run = await house.start()
    await house.ask(run)
    answers = await asyncio.gather(
        house.answer(run.run_id, "Berlin", answered_by="mia"),
        house.answer(run.run_id, "Paris", answered_by="tom"),
        return_exceptions=True,
    )
    first, second = answers
    assert not isinstance(first, BaseException)
    assert isinstance(second, ConflictError)
    assert second.code == "already_answered"
    assert "mia" in second.message
    assert "Berlin" in second.message
    assert len(await house.claim()) == 1


async def test_an_answer_that_came_before_the_wait_is_used(house: StateHouse) -> None:
    """The process was lost after asking; the question is answered while the run is on its way to ask again."""
    run = await house.start()
    await house.ask(run, "a")
    await house.answer(run.run_id, "first")
    (second,) = await house.claim()
    await house.ask(second.run, "b")
    await house.answer(run.run_id, "second")
    (third,) = await house.claim()
    assert await house.ask(third.run, "b") is RunStatus.WAITING
    (fourth,) = await house.claim()
    assert fourth.run.fencing == 4
    assert fourth.run.waiting_for is None


async def test_a_question_that_is_asked_again_is_the_same_question(house: StateHouse) -> None:
    run = await house.start(process="p1", reply=True)
    await house.ask(run)
    await house.answer(run.run_id, "x")
    (taken,) = await house.claim("p1")
    await house.ask(taken.run)
    assert len(await house.store.clarifications("default", None)) == 1
    assert [row["kind"] for row in await house.rows(deliveries)] == ["question"]


@pytest.mark.parametrize(
    ("kind", "wrong", "right"),
    [
        (ClarificationKind.CONFIRMATION, "yes", True),
        (ClarificationKind.CHOICE, "Rome", "Berlin"),
        (ClarificationKind.CHOICE, ["Berlin"], "Berlin"),
        (ClarificationKind.INPUT, 3, "three"),
        (ClarificationKind.ACTION, {"done": "yes"}, {"done": True}),
    ],
)
async def test_an_answer_of_the_wrong_form_is_refused_and_the_question_stays_open(
    house: StateHouse, kind: ClarificationKind, wrong: object, right: object
) -> None:
    run = await house.start()
    await house.settle(
        run, RunStatus.WAITING, question=question(run, kind=kind, options=("Berlin", "Paris")), waiting_kind=None
    )
    with pytest.raises(InvalidInputError) as refused:
        await house.answer(run.run_id, wrong)
    assert refused.value.code == "invalid_answer"
    assert (await house.answer(run.run_id, right)).answer == right


async def test_a_question_that_does_not_exist_is_named_so(house: StateHouse) -> None:
    run = await house.start()
    with pytest.raises(NotFoundError, match=run.run_id):
        await house.answer(run.run_id)
    with pytest.raises(NotFoundError, match="question 123"):
        await house.answer(None, clarification_id="123")
    await house.ask(run)
    other = await house.start()
    with pytest.raises(NotFoundError):
        await house.answer(other.run_id, clarification_id=question(run).id)


async def test_a_deadline_that_passes_ends_the_wait_and_not_the_run(house: StateHouse) -> None:
    run = await house.start()
    deadline = house.clock.now() + timedelta(hours=1)
    await house.settle(run, RunStatus.WAITING, question=question(run, deadline=deadline))
    await house.later(minutes=59)
    await house.store.sweep_questions()
    assert await house.claim() == []
    await house.later(minutes=1)
    await house.store.sweep_questions()
    assert len(await house.claim()) == 1
    assert "clarification.expired" in house.announced.topics()
    with pytest.raises(ConflictError) as late:
        await house.answer(run.run_id)
    assert late.value.code == "closed"


async def test_G7_a_question_without_a_deadline_waits_for_thirty_days(house: StateHouse) -> None:
    run = await house.start()
    await house.ask(run)
    await house.later(days=30)
    await house.store.sweep_questions()
    assert await house.status(run.run_id) is RunStatus.WAITING
    await house.answer(run.run_id)
    assert len(await house.claim()) == 1


async def _plan(house: StateHouse, *steps: str) -> tuple[Run, list[str]]:
    """A plan that waits on its steps, and the ids of their runs."""
    parent = await house.start(mode="collaborative")
    children = tuple(house.child(parent, step) for step in steps)
    await house.settle(parent, RunStatus.WAITING, waiting_kind=WaitingKind.STEPS, children=children)
    return parent, [child.run.run_id for child in children]


async def test_steps_are_runs_and_their_end_wakes_the_plan(house: StateHouse) -> None:
    parent, ids = await _plan(house, "one", "two")
    one, two = await house.claim()
    assert [one.run.run_id, two.run.run_id] == ids
    assert (one.run.parent_run_id, one.run.root, one.run.depth) == (parent.run_id, parent.run_id, 1)
    assert await house.claim(mode="collaborative") == []
    await house.settle(one.run, output="done")
    (woken,) = await house.claim(mode="collaborative")
    assert woken.run.run_id == parent.run_id
    children = await house.queries.children(parent.run_id)
    assert [(child.run.status, child.output) for child in children] == [
        (RunStatus.SUCCEEDED, "done"),
        (RunStatus.RUNNING, None),
    ]


async def test_a_step_that_ended_before_the_wait_began_is_not_missed(house: StateHouse) -> None:
    parent, ids = await _plan(house, "one", "two")
    one, two = await house.claim()
    await house.settle(one.run)
    (woken,) = await house.claim(mode="collaborative")
    await house.settle(two.run)  # while the plan is at work and has seen only the first
    await house.settle(
        woken.run, RunStatus.WAITING, waiting_kind=WaitingKind.STEPS, absorbed=frozenset({one.run.run_id})
    )
    (again,) = await house.claim(mode="collaborative")
    await house.settle(again.run, RunStatus.WAITING, waiting_kind=WaitingKind.STEPS, absorbed=frozenset(ids))
    assert await house.status(parent.run_id) is RunStatus.WAITING


async def test_the_same_step_started_twice_is_one_run(house: StateHouse) -> None:
    parent, ids = await _plan(house, "one")
    (one,) = await house.claim()
    await house.settle(one.run)
    (woken,) = await house.claim(mode="collaborative")
    await house.settle(
        woken.run,
        RunStatus.WAITING,
        waiting_kind=WaitingKind.STEPS,
        children=(house.child(woken.run, "one"), house.child(woken.run, "two")),
        absorbed=frozenset(ids),
    )
    assert [child.run.step_id for child in await house.queries.children(parent.run_id)] == ["one", "two"]
    assert (await house.route()).runs == 0  # a step's event is never routed


async def test_a_step_s_question_is_answered_on_either_run(house: StateHouse) -> None:
    parent, (one, two) = await _plan(house, "one", "two")
    for item in await house.claim():
        await house.ask(item.run)
    assert (await house.answer(two)).run_id == two
    assert (await house.answer(parent.run_id)).run_id == one
    assert len(await house.claim()) == 2


async def test_a_failed_plan_takes_its_steps_with_it(house: StateHouse) -> None:
    parent, (one, two, three) = await _plan(house, "one", "two", "three")
    first, second, third = await house.claim()
    await house.settle(first.run, RunStatus.FAILED, error=RunError(code="x", message="broke"))
    await house.ask(second.run)
    (woken,) = await house.claim(mode="collaborative")
    await house.settle(woken.run, RunStatus.FAILED, error=RunError(code="step_failed", message="broke"))
    assert await house.status(two) is RunStatus.CANCELLED
    assert (await house.run(three)).cancel_requested
    assert await house.settle(third.run, output="too late") is RunStatus.CANCELLED
    with pytest.raises(ConflictError):
        await house.answer(two)
    assert await house.status(parent.run_id) is RunStatus.FAILED
    assert await house.status(one) is RunStatus.FAILED
