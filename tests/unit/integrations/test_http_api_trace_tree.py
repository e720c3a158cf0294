"""The tree of a trace, from records alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from callboard.integrations.http_api.trace_tree import Node, span_of, trace_tree
from callboard.messaging.events import Actor, Event
from callboard.state.finishing import StoredEvent
from callboard.state.runs import Lane, Run, RunStatus, Usage, WaitingFor, WaitingKind
from callboard.state.story import EffectRecord, MessageRecord, ProgressLine, Story

START = datetime(2026, 1, 1, tzinfo=UTC)
TRACE = "t" * 32
ME = Actor(kind="user", id="tess")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def event(event_id: str, seconds: float = 0, **more: Any) -> StoredEvent:
    fields: dict[str, Any] = {"event_type": "api.invoke", "topic": "api.invoke.a", "payload": {}, **more}
    made = Event(event_id=event_id, timestamp=at(seconds), trace_id=TRACE, actor=ME, **fields)
    return StoredEvent(seq=1, event=made)


def run(run_id: str, event_id: str, begin: float = 0, end: float | None = None, **more: Any) -> Run:
    made = Run(
        seq=1,
        run_id=run_id,
        tenant="default",
        event_id=event_id,
        trace_id=TRACE,
        agent="a",
        agent_version=1,
        catalog=1,
        mode="autonomous",
        lane=Lane.INTERACTIVE,
        status=RunStatus.RUNNING if end is None else RunStatus.SUCCEEDED,
        attempt=1,
        failures=0,
        max_attempts=1,
        context_no=0,
        lease_losses=0,
        fencing=1,
        conversation_id=None,
        order_key=None,
        parent_run_id=None,
        root_run_id=None,
        step_id=None,
        depth=0,
        hops=0,
        timeout_seconds=1,
        actor=ME,
        reply_to=None,
        waiting_for=None,
        cancel_requested=False,
        created_at=at(begin),
        available_at=at(begin),
        started_at=at(begin),
        finished_at=None if end is None else at(end),
        cost_usd=0.0,
        usage=Usage(),
    )
    return replace(made, **more)


def message(number: int, seconds: float, role: str, *, calls: bool = False) -> MessageRecord:
    content: dict[str, Any] = {"role": role, "content": "", "tool_calls": [{"id": "1"}] if calls else []}
    return MessageRecord(run_id="r", context_no=0, n=number, message=content, created_at=at(seconds))


def outline(nodes: list[Node]) -> list[Any]:
    return [(node.kind, node.id, outline(node.children)) for node in nodes]


def test_steps_of_a_plan_hang_under_their_parent_and_their_events_are_left_out() -> None:
    parent = run("p", "e", 0, 9, mode="collaborative")
    steps = [
        run(name, f"e-{name}", at_, at_ + 1, parent_run_id="p", step_id=name, mode="collaborative")
        for name, at_ in (("two", 5.0), ("one", 1.0))
    ]
    story = Story(trace_id=TRACE, events=[event("e"), event("e-one", 1), event("e-two", 5)], runs=[parent, *steps])
    assert outline(trace_tree(story)) == [("event", "e", [("run", "p", [("run", "one", []), ("run", "two", [])])])]


def test_what_an_agent_gave_out_hangs_under_its_run_with_whatever_it_started() -> None:
    told = event("out", 2, event_type="agent.output", topic="agent.output.a", payload={"run_id": "r"}, causation_id="e")
    status = event("s", 2, event_type="run.status", topic="run.succeeded.a", payload={"run_id": "r"})
    runs = [run("r", "e", 0, 2, mode="collaborative"), run("n", "out", 3, 4, mode="collaborative")]
    story = Story(trace_id=TRACE, events=[event("e"), told, status], runs=runs)
    assert outline(trace_tree(story)) == [("event", "e", [("run", "r", [("event", "out", [("run", "n", [])])])])]


def test_model_and_tool_steps_have_the_time_they_took() -> None:
    messages = [message(0, 2, "assistant", calls=True), message(1, 5, "tool")]
    effect = EffectRecord(run_id="r", key="/0/0", tool="http_get", status="done", started_at=at(2), finished_at=at(5))
    story = Story(trace_id=TRACE, events=[event("e")], runs=[run("r", "e", 0, 6)], messages=messages, effects=[effect])
    ((root,), span) = trace_tree(story), span_of(trace_tree(story))
    steps = [(step.kind, step.duration_ms) for step in root.children[0].children]
    assert steps == [("model", 2000.0), ("tool", 3000.0), ("model", 1000.0)]
    assert span == (at(0), at(6))


@pytest.mark.parametrize("told", [True, False], ids=["with its reasoning", "without"])
def test_a_call_that_nobody_knows_the_end_of_says_that_it_may_have_happened(told: bool) -> None:
    call = {"key": "/0/0", "tool": "send_email", "arguments": {}}
    lines = [
        ProgressLine(run_id="r", n=n, kind=kind, data=data, created_at=at(n))
        for n, (kind, data) in enumerate([("model_call", {}), ("tool_call", call)], 1)
    ]
    effect = EffectRecord(
        run_id="r", key="/0/0", tool="send_email", status="unknown", started_at=at(2), finished_at=None
    )
    known = [run("r", "e", 0, 6, status=RunStatus.FAILED)]
    story = Story(trace_id=TRACE, events=[event("e")], runs=known, effects=[effect], progress=lines if told else [])
    (root,) = trace_tree(story)
    (shown,) = [step for step in root.children[0].children if step.kind == "tool"]
    assert (shown.name, shown.status) == ("send_email", "unknown")
    assert "may have happened" in shown.to_record()["observation"]


def test_models_that_failed_stand_before_the_answer_of_the_one_that_did_not_at_the_times_of_each() -> None:
    error = {"turn": 0, "code": "provider_unavailable"}
    call = {"model": "third", "input_tokens": 1, "output_tokens": 2, "cost_usd": 0.1, "duration_ms": 1000.0}
    told: list[tuple[str, dict[str, Any], float]] = [
        ("model_failed", {**error, "model": "first", "reason": "first is down", "duration_ms": 2000.0}, 5),
        ("model_failed", {**error, "model": "second", "reason": "second is held back", "duration_ms": 0.0}, 5),
        ("model_call", {**call, "turn": 0}, 5),
        ("model_call", {**call, "turn": 1}, 6),
    ]
    lines = [
        ProgressLine(run_id="r", n=n, kind=kind, data=data, created_at=at(seconds))
        for n, (kind, data, seconds) in enumerate(told)
    ]
    story = Story(trace_id=TRACE, events=[event("e")], runs=[run("r", "e", 0, 6)], progress=lines)
    (root,) = trace_tree(story)
    shown = root.children[0].children
    assert [(node.name, node.status, node.started_at, node.finished_at) for node in shown] == [
        ("first", "failed", at(2), at(4)),
        ("second", "failed", at(4), at(4)),
        ("third", "done", at(4), at(5)),
        ("third", "done", at(5), at(6)),
    ]
    record = shown[0].to_record()
    assert record["error"] == {"code": "provider_unavailable", "message": "first is down"}
    assert not {"cost_usd", "input_tokens", "output_tokens"} & set(record)
    assert len({node.id for node in shown}) == 4


def test_a_run_whose_cause_is_elsewhere_is_a_root_and_a_running_one_has_no_duration() -> None:
    story = Story(trace_id=TRACE, runs=[run("r", "elsewhere")])
    (root,) = trace_tree(story)
    assert (root.kind, root.duration_ms, root.children) == ("run", None, [])


def test_events_that_cause_each_other_do_not_hang_anything_up() -> None:
    itself = event("e", causation_id="e")
    assert outline(trace_tree(Story(trace_id=TRACE, events=[itself]))) == [("event", "e", [])]


def test_a_run_that_waits_for_a_provider_says_what_is_wrong_with_it() -> None:
    paused = [
        ProgressLine(run_id="r", n=n, kind="paused", data={"for": "provider", "reason": said}, created_at=at(n))
        for n, said in enumerate(("it is slow", "nobody is there"), 1)
    ]
    waits = WaitingFor(kind=WaitingKind.PROVIDER, id=None, since=at(1))
    waiting = run("r", "e", status=RunStatus.WAITING, waiting_for=waits)
    (node,) = trace_tree(Story(trace_id=TRACE, runs=[waiting], progress=paused))
    assert node.details["reason"] == "waits for a model provider: nobody is there"
    (again,) = trace_tree(Story(trace_id=TRACE, runs=[run("r", "e")], progress=paused))
    assert "reason" not in again.details, "it goes on"
