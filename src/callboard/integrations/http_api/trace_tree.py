"""The whole story of one trace id as a tree: events, the runs they started, their steps, messages to people; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from callboard.integrations.http_api.plan_trace import plan_nodes
from callboard.integrations.http_api.reasoning_trace import OUTCOME_UNKNOWN, reasoning_nodes
from callboard.integrations.http_api.trace_node import Node
from callboard.messaging.events import Event, EventType
from callboard.state.deliveries import Delivery
from callboard.state.runs import Run, RunStatus, WaitingKind
from callboard.state.story import EffectRecord, MessageRecord, ProgressLine, Story

__all__ = ["Node", "span_of", "trace_tree"]

_SAID_BY_THE_RUN = frozenset({EventType.RUN_STATUS.value, EventType.CLARIFICATION.value})
"""Events that repeat what the tree shows as runs and questions."""

_LONGEST_NAME = 120
_PAUSES = {WaitingKind.PROVIDER: "a model provider", WaitingKind.BUDGET: "money that other runs have reserved"}


def trace_tree(story: Story) -> list[Node]:
    """The roots, oldest first; a record whose cause is under another trace id is a root."""
    runs = {run.run_id: _run_node(run, story) for run in story.runs}
    events = _event_nodes(story)
    roots: list[Node] = []
    for run in story.runs:
        parent = runs.get(run.parent_run_id or "") or events.get(run.event_id)
        (parent.children if parent is not None else roots).append(runs[run.run_id])
    started = {run.event_id: run.run_id for run in story.runs}
    for stored in story.events:
        node = events.get(stored.event.event_id)
        if node is not None:
            cause = _cause(stored.event, runs, events, started)
            (cause.children if cause is not None else roots).append(node)
    _add_steps(story, runs)
    for delivery in story.deliveries:
        owner = runs.get(delivery.run_id or "") or events.get(delivery.event_id or "")
        (owner.children if owner is not None else roots).append(_delivery_node(delivery))
    for node in (*runs.values(), *events.values()):
        node.children.sort(key=_begin)
    return sorted(roots, key=_begin)


def span_of(roots: Iterable[Node]) -> tuple[datetime, datetime] | None:
    """From the first moment to the last that is known."""
    moments = [moment for root in roots for moment in _moments(root)]
    return (min(moments), max(moments)) if moments else None


def _begin(node: Node) -> datetime:
    return node.started_at


def _moments(node: Node) -> list[datetime]:
    own = [node.started_at] if node.finished_at is None else [node.started_at, node.finished_at]
    return own + [moment for child in node.children for moment in _moments(child)]


def _event_nodes(story: Story) -> dict[str, Node]:
    """Those that started a run, and those that only the event tells of. A step's event is its run."""
    steps = {run.event_id for run in story.runs if run.parent_run_id is not None}
    return {
        stored.event.event_id: _event_node(stored.event)
        for stored in story.events
        if stored.event.event_id not in steps and stored.event.event_type not in _SAID_BY_THE_RUN
    }


def _event_node(event: Event) -> Node:
    return Node(
        kind="event",
        id=event.event_id,
        name=event.topic,
        status=None,
        started_at=event.timestamp,
        finished_at=None,
        details={"actor": f"{event.actor.kind} {event.actor.id}"},
    )


def _cause(event: Event, runs: dict[str, Node], events: dict[str, Node], started: dict[str, str]) -> Node | None:
    """The run that gave the event out, else the run of the event it descends from, else that event."""
    told_by = event.payload.get("run_id")
    if isinstance(told_by, str) and told_by in runs:
        return runs[told_by]
    if event.causation_id is None or event.causation_id == event.event_id:
        return None
    return runs.get(started.get(event.causation_id, "")) or events.get(event.causation_id)


def _run_node(run: Run, story: Story) -> Node:
    error = (story.errors or {}).get(run.run_id)
    details: dict[str, Any] = {
        "agent": run.agent,
        "agent_version": run.agent_version,
        "attempt": run.attempt,
        "cost_usd": run.cost_usd,
        "usage": {"input_tokens": run.usage.input_tokens, "output_tokens": run.usage.output_tokens},
        "error": None if error is None else {"code": error.code, "message": error.message},
    }
    if run.started_at is not None:
        details["queued_ms"] = round((run.started_at - run.created_at).total_seconds() * 1000, 3)
    if run.step_id is not None:
        details["step_id"] = run.step_id
    return Node(
        kind="run",
        id=run.run_id,
        name=run.agent if run.step_id is None else f"{run.step_id}: {run.agent}",
        status=run.status.value,
        started_at=run.created_at,
        finished_at=run.finished_at,
        details=details,
    )


def _add_steps(story: Story, runs: dict[str, Node]) -> None:
    messages: dict[str, list[MessageRecord]] = defaultdict(list)
    for message in story.messages:
        messages[message.run_id].append(message)
    begun = {run.run_id: run.started_at or run.created_at for run in story.runs}
    ended = {run.run_id: run.finished_at for run in story.runs if _ends_with_an_answer(run)}
    effects: dict[str, list[EffectRecord]] = defaultdict(list)
    for effect in story.effects:
        effects[effect.run_id].append(effect)
    lines: dict[str, list[ProgressLine]] = defaultdict(list)
    for line in story.progress:
        lines[line.run_id].append(line)
    for run in story.runs:
        reason = _why_paused(run, lines[run.run_id])
        if reason is not None:
            runs[run.run_id].details["reason"] = reason
    for run_id, node in runs.items():
        node.children += plan_nodes(run_id, lines[run_id])
        told = reasoning_nodes(run_id, lines[run_id], effects[run_id])
        if any(step.kind == "model" for step in told):
            node.children += told
            continue
        node.children += _model_steps(run_id, messages[run_id], begun[run_id], ended.get(run_id))
        node.children += [_effect_node(effect) for effect in effects[run_id]]
    for asked in story.clarifications:
        if asked.run_id in runs:
            question = Node(
                kind="question",
                id=asked.id,
                name=_shortened(asked.question),
                status=asked.status.value,
                started_at=asked.asked_at,
                finished_at=asked.answered_at,
                details={
                    "purpose": asked.purpose,
                    "tool": asked.tool,
                    "answered_by": asked.answered_by,
                    "answer": asked.answer,
                },
            )
            runs[asked.run_id].children.append(question)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"


def _why_paused(run: Run, lines: Sequence[ProgressLine]) -> str | None:
    """What a run waits for that no person is asked about: a provider, or money that others have reserved."""
    if run.waiting_for is None or run.waiting_for.kind not in (WaitingKind.PROVIDER, WaitingKind.BUDGET):
        return None
    if run.waiting_for.id is not None:
        return None
    said = next((str(line.data["reason"]) for line in reversed(lines) if line.kind == "paused"), "")
    return f"waits for {_PAUSES[run.waiting_for.kind]}: {said}"


def _ends_with_an_answer(run: Run) -> bool:
    """A collaborative run's end is its plan's, and a run that failed has no last answer."""
    return run.status is RunStatus.SUCCEEDED and run.mode != "collaborative"


def _model_steps(run_id: str, messages: list[MessageRecord], begun: datetime, ended: datetime | None) -> list[Node]:
    """One node a model call that is on record: from what came before it to when its answer was written.

    The last answer of a run is its output and stands nowhere else, so the run's end closes that call.
    """
    nodes: list[Node] = []
    before = begun
    for record in messages:
        if isinstance(record.message, dict) and record.message.get("role") == "assistant":
            nodes.append(_model_node(f"{record.run_id}/{record.context_no}/{record.n}", before, record.created_at))
        before = record.created_at
    if ended is not None and not (messages and _is_answer(messages[-1])):
        nodes.append(_model_node(f"{run_id}/answer", before, ended))
    return nodes


def _is_answer(record: MessageRecord) -> bool:
    message = record.message
    return isinstance(message, dict) and message.get("role") == "assistant" and not message.get("tool_calls")


def _model_node(identity: str, begin: datetime, end: datetime) -> Node:
    return Node(kind="model", id=identity, name="call", status="done", started_at=begin, finished_at=max(begin, end))


def _effect_node(effect: EffectRecord) -> Node:
    return Node(
        kind="tool",
        id=f"{effect.run_id}/{effect.key}",
        name=effect.tool,
        status=effect.status,
        started_at=effect.started_at,
        finished_at=effect.finished_at,
        details={"observation": OUTCOME_UNKNOWN} if effect.status == "unknown" else {},
    )


def _delivery_node(delivery: Delivery) -> Node:
    where = delivery.target.channel or delivery.target.user or ""
    return Node(
        kind="delivery",
        id=delivery.id,
        name=f"{delivery.target.via} {where}: {delivery.kind}",
        status=delivery.status.value,
        started_at=delivery.created_at,
        finished_at=None,
        details={"attempt": delivery.attempt, "sent_ts": delivery.sent_ts, "error": delivery.error},
    )
