"""Records as the API shows them; pure."""

from __future__ import annotations

from typing import Any

from callboard.messaging.events import Actor
from callboard.state.clarifications import Clarification
from callboard.state.dead_letters import DeadLetter
from callboard.state.deliveries import Delivery
from callboard.state.occurrences import OccurrenceRecord
from callboard.state.runs import Run, RunError, Usage
from callboard.state.story import AgentSums, Operation, PendingRun, ProgressLine


def usage(used: Usage) -> dict[str, int]:
    return {"input_tokens": used.input_tokens, "output_tokens": used.output_tokens}


def run_error(error: RunError | None) -> dict[str, str] | None:
    return None if error is None else {"code": error.code, "message": error.message}


def run_status(run: Run) -> dict[str, Any]:
    """The body of `status` (INTERFACE.md, section 3)."""
    body: dict[str, Any] = {
        "task_id": run.run_id,
        "trace_id": run.trace_id,
        "agent": run.agent,
        "agent_version": run.agent_version,
        "status": run.status.value,
        "attempt": run.attempt,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "cost_usd": run.cost_usd,
        "cost_estimated": run.cost_estimated,
        "usage": usage(run.usage),
    }
    if run.waiting_for is not None:
        waiting = run.waiting_for
        body["waiting_for"] = {"kind": waiting.kind.value, "id": waiting.id, "since": waiting.since}
    return body


def pending_status(pending: PendingRun) -> dict[str, Any]:
    """The same for a run that will exist as soon as its event is routed."""
    return {
        "task_id": pending.run_id,
        "trace_id": pending.trace_id,
        "agent": pending.agent,
        "agent_version": None,
        "status": "queued",
        "attempt": 0,
        "created_at": pending.accepted_at,
        "started_at": None,
        "finished_at": None,
        "cost_usd": 0.0,
        "cost_estimated": False,
        "usage": usage(Usage()),
    }


def run_record(run: Run) -> dict[str, Any]:
    """A run in a list: its status and where it belongs."""
    return {
        "run_id": run.run_id,
        **run_status(run),
        "mode": run.mode,
        "lane": run.lane.value,
        "event_id": run.event_id,
        "conversation_id": run.conversation_id,
        "parent_run_id": run.parent_run_id,
        "root_run_id": run.root,
        "step_id": run.step_id,
        "origin_run_id": run.origin_run_id,
        "dry": run.dry,
        "variant": None if run.variant is None else run.variant.to_record(),
        "failures": run.failures,
        "max_attempts": run.max_attempts,
        "lease_losses": run.lease_losses,
        "cancel_requested": run.cancel_requested,
        "actor": actor(run.actor),
    }


def actor(who: Actor) -> dict[str, Any]:
    return {"kind": who.kind, "id": who.id, "team": who.team, "via": who.via}


_NOT_IN_DETAILS = ("tool", "arguments", "digest", "written")
"""Shown beside them, but `written`: that is half of a conversation, and only for judging answers."""


def clarification(asked: Clarification) -> dict[str, Any]:
    """`may_answer` empty: everybody, but whoever asked for the run where `not_requester` says so."""
    return {
        "clarification_id": asked.id,
        "task_id": asked.run_id,
        "root_run_id": asked.root_run_id,
        "trace_id": asked.trace_id,
        "agent": asked.agent,
        "kind": asked.kind.value,
        "purpose": asked.purpose,
        "question": asked.question,
        "options": list(asked.options),
        "schema": asked.schema,
        "tool": asked.tool,
        "arguments": asked.arguments,
        "digest": asked.digest,
        "details": {name: value for name, value in asked.details.items() if name not in _NOT_IN_DETAILS},
        "status": asked.status.value,
        "answer": asked.answer,
        "comment": asked.comment,
        "answered_by": asked.answered_by,
        "asked_at": asked.asked_at,
        "deadline": asked.deadline,
        "on_deadline": asked.on_deadline,
        "escalate_to": asked.escalate_to,
        "escalated_at": asked.escalated_at,
        "next_reminder": asked.next_reminder,
        "answered_at": asked.answered_at,
        "may_answer": list(asked.may_answer),
        "not_requester": asked.not_requester,
        "requester": asked.requester,
    }


def delivery(owed: Delivery) -> dict[str, Any]:
    """Without its response URL, which is a secret."""
    return {
        "delivery_id": owed.id,
        "kind": owed.kind,
        "via": owed.target.via,
        "channel": owed.target.channel,
        "thread_ts": owed.target.thread_ts,
        "run_id": owed.run_id,
        "clarification_id": owed.clarification_id,
        "status": owed.status.value,
        "attempt": owed.attempt,
        "sent_ts": owed.sent_ts,
        "error": owed.error,
        "trace_id": owed.trace_id,
        "created_at": owed.created_at,
    }


def dead_letter(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "queue": letter.queue,
        "topic": letter.topic,
        "reason": letter.reason,
        "event_id": letter.event_id,
        "trace_id": letter.trace_id,
        "deliveries": letter.deliveries,
        "status": letter.status,
        "size_bytes": len(letter.body),
        "created_at": letter.created_at,
        "closed_at": letter.closed_at,
    }


def occurrence(entered: OccurrenceRecord) -> dict[str, Any]:
    return {
        "schedule_id": entered.schedule_id,
        "agent": entered.agent,
        "nominal_time": entered.nominal_time,
        "decided_at": entered.decided_at,
        "status": entered.status.value,
        "phase": entered.phase.value,
        "reason": entered.reason,
        "event_id": entered.event_id,
        "task_id": entered.run_id,
        "trace_id": entered.trace_id,
    }


def progress(line: ProgressLine) -> dict[str, Any]:
    return {"n": line.n, "kind": line.kind, "at": line.created_at, "data": dict(line.data)}


def operation(done: Operation) -> dict[str, Any]:
    return {
        "id": done.id,
        "actor": dict(done.actor),
        "action": done.action,
        "object": done.object,
        "details": dict(done.details),
        "created_at": done.created_at,
    }


def sums(total: AgentSums) -> dict[str, Any]:
    return {
        "agent": total.agent,
        "runs": dict(total.runs),
        "cost_usd": total.cost_usd,
        "usage": {"input_tokens": total.input_tokens, "output_tokens": total.output_tokens},
    }
