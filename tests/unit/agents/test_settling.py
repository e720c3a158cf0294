"""From what an engine says to what the store is told (rules 5 and 10)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from callboard.agents.engine import Asked, Failed, Question, Succeeded, Usage
from callboard.agents.settling import (
    MAX_MESSAGE_BYTES,
    MAX_OUTPUT_BYTES,
    acceptable,
    answer_key,
    cancelled,
    failure_of,
    handed_back,
    may_retry,
    not_storable,
    settlement_of,
    timed_out,
)
from callboard.errors import InvalidInputError, UnavailableError
from callboard.state.finishing import Settlement
from callboard.state.runs import Run, RunStatus, WaitingKind
from tests.unit.agents.test_plans import NOW, child

RUN = child("r", RunStatus.RUNNING).run
USED = Usage(input_tokens=3, output_tokens=4, cost_usd=0.5)


def settled(outcome: Any, run: Run = RUN, *, fresh: bool = True) -> Settlement:
    return settlement_of(run, outcome, NOW, pause_seconds=7.0, fresh_context=fresh)


def test_a_success_ends_the_run_with_what_it_used() -> None:
    settlement = settled(Succeeded(output={"n": 1}, messages=(), usage=USED))
    assert (settlement.status, settlement.output, settlement.error) == (RunStatus.SUCCEEDED, {"n": 1}, None)
    assert (settlement.usage.input_tokens, settlement.usage.output_tokens, settlement.cost_usd) == (3, 4, 0.5)
    assert (settlement.run_id, settlement.fencing) == ("r", 1)


def test_an_unknown_price_costs_nothing_on_record() -> None:
    assert settled(Succeeded(output="x", messages=(), usage=replace(USED, cost_usd=None))).cost_usd == 0.0


def test_a_question_waits_under_a_key_of_its_context() -> None:
    run = replace(RUN, context_no=2)
    asked = Asked(question=Question(key="0/1", kind="choice", text="Which?", options=("a", "b")), usage=USED)
    settlement = settled(asked, run)
    assert (settlement.status, settlement.waiting_kind) == (RunStatus.WAITING, WaitingKind.CLARIFICATION)
    assert settlement.question is not None
    assert settlement.question.key == "2:0/1"
    assert answer_key(run, settlement.question.key) == "0/1"
    assert answer_key(replace(run, context_no=3), settlement.question.key) is None
    again, other = settled(asked, run), settled(asked, replace(run, context_no=3))
    assert again.question is not None
    assert other.question is not None
    assert again.question.id == settlement.question.id
    assert other.question.id != settlement.question.id


@pytest.mark.parametrize(
    ("failures", "most", "retryable", "again"),
    [(0, 3, True, True), (1, 3, True, True), (2, 3, True, False), (0, 1, True, False), (0, 3, False, False)],
)
def test_a_failure_is_tried_again_within_the_attempts(failures: int, most: int, retryable: bool, again: bool) -> None:
    run = replace(RUN, failures=failures, max_attempts=most)
    failed = Failed(code="model", message="no", retryable=retryable, usage=USED)
    assert may_retry(run, failed) is again
    settlement = settled(failed, run)
    assert settlement.failure
    assert settlement.error is not None
    if again:
        assert (settlement.status, settlement.fresh_context) == (RunStatus.QUEUED, True)
        assert settlement.available_at == NOW + timedelta(seconds=7)
    else:
        assert (settlement.status, settlement.fresh_context) == (RunStatus.FAILED, False)


def test_what_is_not_the_run_s_fault_counts_no_failure() -> None:
    assert not handed_back(RUN, NOW).failure
    assert handed_back(RUN, NOW).status is RunStatus.QUEUED
    assert cancelled(RUN, NOW).status is RunStatus.CANCELLED
    late = timed_out(RUN, NOW)
    assert late.error is not None
    assert (late.status, late.error.message) == (RunStatus.TIMED_OUT, "the run took longer than its 60 s")


def test_a_message_for_people_is_bounded_and_storable() -> None:
    settlement = settled(Failed(code="x", message="\ud800" + "x" * 10**6, retryable=False, usage=USED))
    assert settlement.error is not None
    assert len(settlement.error.message) < MAX_MESSAGE_BYTES + 100
    settlement.error.message.encode()


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (None, "empty_answer"),
        ("", "empty_answer"),
        ("x" * (MAX_OUTPUT_BYTES + 1), "output_too_large"),
        ("é" * MAX_OUTPUT_BYTES, "output_too_large"),
        (["x" * MAX_OUTPUT_BYTES], "output_too_large"),
    ],
    ids=["none", "empty", "text", "two-byte", "list"],
)
def test_nothing_and_too_much_are_failures_that_keep_what_was_used(output: Any, code: str) -> None:
    judged = acceptable(Succeeded(output=output, messages=(), usage=USED))
    assert isinstance(judged, Failed)
    assert (judged.code, judged.usage) == (code, USED)


@pytest.mark.parametrize("output", ["x" * MAX_OUTPUT_BYTES, 0, False, [], {}, " "], ids=lambda value: repr(value)[:9])
def test_everything_else_is_taken_as_it_is(output: Any) -> None:
    given = Succeeded(output=output, messages=(), usage=USED)
    assert acceptable(given) is given


def test_no_outcome_at_all_is_a_failure() -> None:
    judged = acceptable(None)
    assert isinstance(judged, Failed)
    assert judged.retryable


def test_exceptions_are_failures_of_their_own_kind() -> None:
    outage, refusal, defect = (
        failure_of(error) for error in (UnavailableError("away"), InvalidInputError("bad", code="bad"), KeyError("k"))
    )
    assert (outage.code, outage.retryable) == ("unavailable", True)
    assert (refusal.code, refusal.retryable) == ("bad", False)
    assert (defect.code, defect.message, defect.retryable) == ("crash", "the agent raised KeyError: 'k'", True)
    assert (not_storable(TypeError("x")).code, not_storable(InvalidInputError("n")).code) == (
        "not_storable",
        "invalid_input",
    )
