"""What the rest of the world is told when a run changes: pure, from the run's row to public events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from callboard.ids import derive_id
from callboard.messaging import topology
from callboard.messaging.events import Actor, Event, EventPriority, EventType
from callboard.state.runs import RunError, RunStatus

LARGEST_TEXT = 16_384
"""Characters of an output that travel with the event; who wants all of it reads the run."""


def run_events(
    row: Mapping[Any, Any], status: RunStatus, now: datetime, output: Any, error: RunError | None
) -> list[Event]:
    """The events of a run that reached `status`: its status, and what a continuous agent or a plan gives out.

    A dry run gives nothing out.
    """
    text = output if isinstance(output, str) else None
    payload: dict[str, Any] = {
        "run_id": row["run_id"],
        "agent": row["agent"],
        "status": status.value,
        "attempt": row["attempt"],
    }
    if text is not None:
        payload["text"] = text[:LARGEST_TEXT]
        payload["truncated"] = len(text) > LARGEST_TEXT
    elif output is not None and len(str(output)) <= LARGEST_TEXT:
        payload["output"] = output
    if row["dry"]:
        payload["dry"] = True
    if error is not None:
        payload["error"] = {"code": error.code, "message": error.message}
    told = [_event(row, EventType.RUN_STATUS, topology.run_status(status.value, row["agent"]), now, payload)]
    if row["dry"]:
        return told
    if status is RunStatus.SUCCEEDED and row["mode"] == "continuous":
        told.append(_event(row, EventType.AGENT_OUTPUT, topology.agent_output(row["agent"]), now, payload))
    if status is RunStatus.SUCCEEDED and row["mode"] == "collaborative":
        topic = topology.collaboration_completed(row["run_id"])
        told.append(_event(row, EventType.COLLABORATION_COMPLETED, topic, now, payload))
    return told


def clarification_event(row: Mapping[Any, Any], status: str, now: datetime) -> Event:
    """`row` is a clarification's."""
    return Event(
        event_id=derive_id("clarification", row["id"], status),
        event_type=EventType.CLARIFICATION,
        topic=topology.clarification(status),
        timestamp=now,
        trace_id=row["trace_id"],
        actor=Actor(kind="agent", id=row["agent"], via="run"),
        payload={
            "clarification_id": row["id"],
            "run_id": row["run_id"],
            "agent": row["agent"],
            "kind": row["kind"],
            "purpose": row["purpose"] or "question",
            "status": status,
        },
        tenant=row["tenant"],
    )


def _event(row: Mapping[Any, Any], kind: EventType, topic: str, now: datetime, payload: dict[str, Any]) -> Event:
    return Event(
        event_id=derive_id(topic, row["run_id"], row["fencing"], payload["status"]),
        event_type=kind,
        topic=topic,
        timestamp=now,
        trace_id=row["trace_id"],
        actor=Actor(kind="agent", id=row["agent"], via="run"),
        payload=payload,
        causation_id=row["event_id"],
        conversation_id=row["conversation_id"],
        priority=EventPriority.NORMAL,
        hops=row["hops"] + 1,
        tenant=row["tenant"],
    )
