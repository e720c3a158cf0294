"""The run of an event as a test wants it, without a catalog."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from callboard.ids import derive_id
from callboard.messaging.events import Event
from callboard.state.runs import Admission, Lane, RunDraft


def plain_run(event: Event, agent: str, **parts: Any) -> RunDraft:
    """Of an autonomous agent without limits, with the event's text or input; `parts` are other fields of the draft."""
    draft = RunDraft(
        run_id=derive_id("run", event.event_id, agent),
        event_id=event.event_id,
        trace_id=event.trace_id,
        tenant=event.tenant,
        agent=agent,
        agent_version=1,
        catalog=1,
        mode="autonomous",
        admission=Admission(lane=Lane.INTERACTIVE, rank=2),
        max_attempts=1,
        timeout_seconds=60.0,
        actor=event.actor,
        input=event.payload.get("text", event.payload.get("input")),
    )
    return replace(draft, **parts)
