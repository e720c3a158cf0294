"""Two runs side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from callboard.integrations.http_api.run_comparison import Call, Part, calls_of, comparison, output_diff
from callboard.messaging.events import Actor
from callboard.state.replays import Variant
from callboard.state.runs import Lane, Run, RunResult, RunStatus, Usage

from callboard.clock import ManualClock  # isort: skip


def part(path: str = "", output: Any = "x", status: RunStatus = RunStatus.SUCCEEDED, *calls: Call) -> Part:
    now = ManualClock().now()
    run = Run(
        seq=1, run_id="r", tenant="default", event_id="e", trace_id="t", agent="echo", agent_version=1, catalog=1,
        mode="autonomous", lane=Lane.INTERACTIVE, status=status, attempt=1, failures=0, max_attempts=1, context_no=0,
        lease_losses=0, fencing=1, conversation_id=None, order_key=None, parent_run_id=None, root_run_id=None,
        step_id=None, depth=0, hops=0, timeout_seconds=1.0, actor=Actor(kind="user", id="u"), reply_to=None,
        waiting_for=None, cancel_requested=False, created_at=now, available_at=now, started_at=now, finished_at=now,
        cost_usd=0.5, usage=Usage(input_tokens=2, output_tokens=1),
    )  # fmt: skip
    return Part(path=path, result=RunResult(run=run, input="i", output=output, error=None), calls=calls)


SEND = Call(tool="send", arguments={"a": 1, "b": 2}, result="sent")
READ = Call(tool="read", arguments={}, result="page")


@pytest.mark.parametrize(
    ("before", "after", "equal"),
    [
        ("x", "x", True),
        ("x", "y", False),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, True),
        ('{"a": 1, "b": 2}', '{"b":2,"a":1}', True),
        ('{"a": 1}', {"a": 1}, True),
        (1, True, False),
        ("{no json", "{no json", True),
    ],
)
def test_outputs_are_compared_as_what_they_mean(before: Any, after: Any, equal: bool) -> None:
    told = comparison([part(output=before)], [part(output=after)], None)
    assert (told["output"]["equal"], told["equal"]) == (equal, equal)
    assert bool(told["output"]["diff"]) is not equal or before == 1


def test_the_difference_has_a_line_for_each_value() -> None:
    lines = output_diff({"b": 2, "a": 1}, {"a": 1, "b": 3}).splitlines()
    assert [line for line in lines if line[:1] in "+-" and not line.startswith(("+++", "---"))] == [
        '-  "b": 2', '+  "b": 3',
    ]  # fmt: skip


def test_another_status_is_another_end() -> None:
    told = comparison([part()], [part(status=RunStatus.FAILED)], None)
    assert (told["equal"], told["status"]) == (False, {"origin": "succeeded", "replay": "failed"})


def test_calls_are_put_side_by_side() -> None:
    turned = replace(SEND, arguments={"b": 2, "a": 1}, result="other")
    changed = replace(SEND, arguments={"a": 9})
    told = comparison(
        [part("", "x", RunStatus.SUCCEEDED, SEND, READ, SEND)],
        [part("", "x", RunStatus.SUCCEEDED, turned, changed, READ)],
        None,
    )
    assert [(call["tool"], call["change"]) for call in told["calls"]] == [
        ("send", "same"), ("send", "added"), ("read", "same"), ("send", "missing"),
    ]  # fmt: skip
    assert [call["same_result"] for call in told["calls"]] == [False, False, True, False]
    (call,) = comparison(
        [part("", "x", RunStatus.SUCCEEDED, SEND)], [part("", "x", RunStatus.SUCCEEDED, changed)], None
    )["calls"]
    assert (call["change"], call["replay"]["arguments"]) == ("changed", {"a": 9})
    told = comparison([part("", "x", RunStatus.SUCCEEDED, SEND)], [part("", "x", RunStatus.SUCCEEDED, READ)], None)
    assert [(call["tool"], call["change"]) for call in told["calls"]] == [("send", "missing"), ("read", "added")]


def test_steps_are_compared_by_their_place() -> None:
    before = [part(), part("a"), part("b", "1"), part("task-0-0-0")]
    after = [part(), part("b", "2"), part("c")]
    told = comparison(before, after, Variant(origin="o"))
    assert {step["step"]: step["change"] for step in told["steps"]} == {"a": "missing", "b": "changed", "c": "added"}
    from_b = comparison(before, after, Variant(origin="o", from_step="b"))
    assert {step["step"] for step in from_b["steps"]} == {"b", "c"}
    assert from_b["usage"] == {
        "origin": {"input_tokens": 4, "output_tokens": 2}, "replay": {"input_tokens": 6, "output_tokens": 3},
    }  # fmt: skip
    assert from_b["cost_usd"] == {"origin": 1.0, "replay": 1.5}


def test_calls_are_read_from_the_checkpoint() -> None:
    entries = [
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "name": "send", "arguments": {"a": 1}}]},
        {"role": "user", "content": "a summary"},
        {"role": "tool", "content": "sent"},
        {"role": "tool", "content": "of nothing"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "2", "name": "read"}]},
    ]
    assert calls_of(entries) == [
        Call(tool="send", arguments={"a": 1}, result="sent"), Call(tool="read", arguments={}, result=None),
    ]  # fmt: skip
