"""The one table of what a run may become, and what is told when it does (rule 5, I6)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from callboard.clock import ManualClock
from callboard.errors import ConflictError
from callboard.messaging.events import EventType
from callboard.state.announcements import LARGEST_TEXT, run_events
from callboard.state.runs import TRANSITIONS, RunError, RunStatus, check_transition

ENDS = {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMED_OUT}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(RunStatus, RunStatus)))
def test_only_the_table_s_steps_are_allowed(before: RunStatus, after: RunStatus) -> None:
    if after in TRANSITIONS[before]:
        check_transition(before, after)
    else:
        with pytest.raises(ConflictError, match=f"{before} cannot become {after}"):
            check_transition(before, after)


def test_ends_are_final_and_everything_else_can_reach_one() -> None:
    assert {status for status in RunStatus if status.terminal} == ENDS
    assert all(not TRANSITIONS[status] for status in ENDS)
    for status in set(RunStatus) - ENDS:
        assert TRANSITIONS[status] & ENDS
        assert RunStatus.CANCELLED in TRANSITIONS[status]


def test_only_a_claimed_run_can_succeed() -> None:
    assert [status for status in RunStatus if RunStatus.SUCCEEDED in TRANSITIONS[status]] == [RunStatus.RUNNING]
    assert [status for status in RunStatus if RunStatus.RUNNING in TRANSITIONS[status]] == [RunStatus.QUEUED]


def row(mode: str = "autonomous", **parts: Any) -> dict[str, Any]:
    return {
        "run_id": "r",
        "agent": "echo",
        "attempt": 2,
        "mode": mode,
        "fencing": 3,
        "trace_id": "t",
        "event_id": "e",
        "conversation_id": "c",
        "hops": 4,
        "tenant": "default",
        "dry": None,
        **parts,
    }


def told(mode: str, status: RunStatus, output: Any = None, error: RunError | None = None) -> list[Any]:
    return run_events(row(mode), status, ManualClock().now(), output, error)


@pytest.mark.parametrize("status", list(RunStatus))
def test_every_status_is_told_under_its_topic_with_its_origin(status: RunStatus) -> None:
    (event,) = told("autonomous", status)
    assert (event.topic, event.event_type) == (f"run.{status}.echo", EventType.RUN_STATUS)
    assert (event.trace_id, event.causation_id, event.conversation_id, event.hops) == ("t", "e", "c", 5)
    assert (event.actor.kind, event.actor.id) == ("agent", "echo")
    assert event.payload == {"run_id": "r", "agent": "echo", "status": status.value, "attempt": 2}


def test_the_same_end_told_twice_is_the_same_event() -> None:
    first, again = told("continuous", RunStatus.SUCCEEDED, "x"), told("continuous", RunStatus.SUCCEEDED, "x")
    assert first == again
    assert len({event.event_id for event in first}) == 2


@pytest.mark.parametrize(
    ("mode", "status", "more"),
    [
        ("continuous", RunStatus.SUCCEEDED, ["agent.output.echo"]),
        ("continuous", RunStatus.FAILED, []),
        ("collaborative", RunStatus.SUCCEEDED, ["collaboration.completed.r"]),
        ("collaborative", RunStatus.CANCELLED, []),
        ("autonomous", RunStatus.SUCCEEDED, []),
    ],
)
def test_outputs_and_finished_plans_have_their_own_topics(mode: str, status: RunStatus, more: list[str]) -> None:
    assert [event.topic for event in told(mode, status, "x")][1:] == more


def test_I7_what_travels_is_bounded() -> None:
    (short,) = told("autonomous", RunStatus.SUCCEEDED, "x" * LARGEST_TEXT)
    assert not short.payload["truncated"]
    (long,) = told("autonomous", RunStatus.SUCCEEDED, "x" * (LARGEST_TEXT + 1))
    assert (len(long.payload["text"]), long.payload["truncated"]) == (LARGEST_TEXT, True)
    (record,) = told("autonomous", RunStatus.SUCCEEDED, {"n": 1})
    assert record.payload["output"] == {"n": 1}
    (huge,) = told("autonomous", RunStatus.SUCCEEDED, {"n": "x" * 20_000})
    assert "output" not in huge.payload


def test_a_failure_says_why() -> None:
    (event,) = told("autonomous", RunStatus.FAILED, error=RunError(code="boom", message="it broke"))
    assert event.payload["error"] == {"code": "boom", "message": "it broke"}
