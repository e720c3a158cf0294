"""What a run waits for that its own record does not say."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from callboard.cli.api_client import ApiClient
from callboard.errors import CallboardError, NotFoundError

_ROUTED_WITHIN_TRIES = 10
_TRY_SECONDS = 0.1


def why_it_waits(api: ApiClient, record: Mapping[str, Any]) -> str | None:
    """The reason of a pause, or the run of the same conversation that a queued one is behind; None where neither is."""
    waiting = record.get("waiting_for")
    if waiting is not None and waiting["id"] is None and waiting["kind"] in ("provider", "budget"):
        return _reason(api.get("traces", record["trace_id"])["tree"], record["run_id"])
    if record["status"] == "queued" and record.get("mode") == "continuous":
        return _first_in_line(record, _waiting_runs(api, record["agent"]))
    return None


def why_it_is_queued(api: ApiClient, task_id: str, agent: str) -> str | None:
    """The same for a task that was accepted this moment; None as well where the question gets no answer."""
    try:
        waiting = _waiting_runs(api, agent)
        return _place_in_line(api, task_id, waiting) if waiting else None
    except CallboardError:
        return None  # the task was accepted: whoever watches it goes on


def _place_in_line(api: ApiClient, task_id: str, waiting: list[dict[str, Any]]) -> str | None:
    for _ in range(_ROUTED_WITHIN_TRIES):
        try:
            record = api.get("runs", task_id)
        except NotFoundError:
            time.sleep(_TRY_SECONDS)  # it is accepted, and has no run yet
            continue
        is_in_line = record["status"] == "queued" and record.get("mode") == "continuous"
        return _first_in_line(record, waiting) if is_in_line else None
    return None


def _waiting_runs(api: ApiClient, agent: str) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = api.get("runs", agent=agent, status="waiting", limit=200)["runs"]
    return runs


def _first_in_line(record: Mapping[str, Any], waiting: Iterable[Mapping[str, Any]]) -> str | None:
    for run in waiting:
        if run["conversation_id"] == record["conversation_id"] and run["run_id"] != record["run_id"]:
            kind = run["waiting_for"]["kind"] if run.get("waiting_for") else ""
            ends = "answer or cancel it" if kind in ("clarification", "approval") else "see `callboard runs show` of it"
            return f"queued behind run {run['run_id']} of the same conversation, which waits for {_FOR[kind]}: {ends}"
    return None


_FOR = {
    "clarification": "a person",
    "approval": "a person",
    "budget": "money",
    "provider": "a model provider",
    "steps": "other runs",
    "": "something",
}


def _reason(nodes: Iterable[Mapping[str, Any]], run_id: str) -> str | None:
    for node in nodes:
        if node["kind"] == "run" and node["id"] == run_id:
            reason: str | None = node.get("reason")
            return reason
        found = _reason(node["children"], run_id)
        if found is not None:
            return found
    return None
