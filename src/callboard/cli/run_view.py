"""One run for people: what it is, what it waits for, and its plan, questions, steps and messages as tables."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import click

from callboard.cli.output import print_record, print_table, shown
from callboard.state.told_answer import told_answer

_WAITS = {
    "clarification": "a person's answer",
    "approval": "a person's approval",
    "budget": "money",
    "provider": "a model provider",
    "steps": "the steps of its plan, or tasks that it handed on",
}
_UNTOLD = frozenset({"task_id", "clarifications", "plan", "steps", "deliveries"})
"""Said already, or tables of their own."""
_UNREMARKABLE: Mapping[str, Any] = {
    "dry": False,
    "failures": 0,
    "lease_losses": 0,
    "cancel_requested": False,
    "cost_estimated": False,
}
"""Shown only where they are something else."""
_PLAN = {"id": "STEP", "agent": "AGENT", "status": "STATUS", "needs": "AFTER", "run_id": "RUN", "error": "WHY"}
_QUESTIONS = {
    "clarification_id": "QUESTION",
    "purpose": "PURPOSE",
    "question": "TEXT",
    "status": "STATUS",
    "told": "ANSWER",
    "answered_by": "BY",
}
_STEPS = {"run_id": "STEP'S RUN", "step_id": "STEP", "agent": "AGENT", "status": "STATUS", "finished_at": "ENDED"}
_MESSAGES = {"kind": "MESSAGE", "channel": "TO", "status": "STATUS", "attempt": "ATTEMPT", "error": "WHY"}


def print_run(record: Mapping[str, Any], *, why: str | None = None) -> None:
    """The record of `GET runs/ID`; `why` is what a pause or a queue is about, where somebody knows."""
    told = {name: value for name, value in record.items() if name not in _UNTOLD and value != _UNREMARKABLE.get(name)}
    if told.get("root_run_id") == told.get("run_id"):
        told.pop("root_run_id", None)
    told |= {name: _WORDS[name](told[name]) for name in _WORDS if told.get(name)}
    told["status"] = record["status"]
    if why:
        told["waiting_for"] = " ".join(part for part in (told.get("waiting_for"), f"({why})") if part)
    print_record(told)
    plan = record.get("plan") or {}
    _part([_plan_step(step) for step in plan.get("steps", ())], _PLAN)
    planned = {step.get("run_id") for step in plan.get("steps", ())}
    _part([step for step in record.get("steps") or () if step["run_id"] not in planned], _STEPS)
    questions = record.get("clarifications") or ()
    _part([{**asked, "told": told_answer(asked["answer"])} for asked in questions], _QUESTIONS)
    _part(record.get("deliveries") or (), _MESSAGES)
    for asked in questions:
        if asked["status"] == "asked":
            click.echo(f"answer it: {how_to_answer(asked)}", err=True)


def how_to_answer(asked: Mapping[str, Any]) -> str:
    """The command that answers a question, ready for a shell."""
    command = f"callboard clarifications answer {asked['clarification_id']}"
    if asked["purpose"] == "approval":
        return f"{command} --approve (or --reject)"
    if asked["kind"] == "confirmation":
        return f"{command} yes (or no)"
    if asked["options"]:
        first, *others = [shlex.quote(option) for option in asked["options"]]
        return f"{command} {first}" + (f" (or {', '.join(others)})" if others else "")
    return f"{command} ANSWER"


def _part(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """A table of those columns that some row fills."""
    if rows:
        click.echo()
        print_table(rows, {key: head for key, head in columns.items() if any(row.get(key) for row in rows)}, empty="")


def _plan_step(step: Mapping[str, Any]) -> dict[str, Any]:
    items = step.get("items") or ()
    done = sum(item["status"] == "succeeded" for item in items)
    status = f"{step['status']} ({done} of {len(items)} items)" if items else step["status"]
    doer = step.get("agent") or "a plan of its own"
    return {
        **step,
        "agent": doer,
        "status": status,
        "needs": step.get("depends_on"),
        "error": _told_error(step["error"]),
    }


def _told_error(error: Any) -> str:
    if isinstance(error, dict):
        return f"{error.get('code')}: {error.get('message')}"
    return shown(error)


def _told_waiting(waiting: Mapping[str, Any]) -> str:
    kind = str(waiting["kind"])
    return f"{_WAITS.get(kind, kind)}, since {shown(waiting['since'])}"


def _told_actor(actor: Mapping[str, Any]) -> str:
    return f"{actor['id']} ({actor['kind']} by {actor['via']})" if actor.get("via") else str(actor["id"])


def _told_usage(usage: Mapping[str, Any]) -> str:
    return f"{usage['input_tokens']} tokens read, {usage['output_tokens']} written"


_WORDS = {"waiting_for": _told_waiting, "actor": _told_actor, "usage": _told_usage, "error": _told_error}
