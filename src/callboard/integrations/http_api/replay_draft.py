"""The run of a replay: everything as it was but what is to be different; pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from callboard.config.catalog import CatalogEntry
from callboard.ids import derive_id
from callboard.messaging.events import Actor, Event, EventType
from callboard.messaging.topology import api_invoke
from callboard.state.finishing import ChildDraft
from callboard.state.replays import Variant
from callboard.state.runs import Admission, RunDraft, RunResult


def replay_draft(
    found: RunResult, entry: CatalogEntry, variant: Variant, *, event_id: str, actor: Actor, now: datetime
) -> ChildDraft:
    """A run of its own under the trace id of the original, with the catalog of that and so its members, tools and
    prices. It answers nobody, and takes no turn in the conversation that it reads."""
    origin = found.run
    given: dict[str, Any] = {"text": found.input} if isinstance(found.input, str) else {"input": found.input}
    event = Event(
        event_id=event_id,
        event_type=EventType.API_INVOKE,
        topic=api_invoke(origin.agent),
        timestamp=now,
        trace_id=origin.trace_id,
        actor=actor,
        payload={**given, "dry": True, "origin_run_id": origin.run_id, "variant": variant.to_record()},
        causation_id=origin.event_id,
        conversation_id=origin.conversation_id,
        hops=origin.hops,
        tenant=origin.tenant,
    )
    return ChildDraft(event=event, run=_draft(found, entry, variant, event_id))


def _draft(found: RunResult, entry: CatalogEntry, variant: Variant, event_id: str) -> RunDraft:
    origin, limits = found.run, entry.definition.limits
    return RunDraft(
        run_id=derive_id("run", event_id, origin.agent),
        event_id=event_id,
        trace_id=origin.trace_id,
        tenant=origin.tenant,
        agent=origin.agent,
        agent_version=entry.version,
        catalog=origin.catalog,
        mode=origin.mode,
        admission=Admission.of_caused(origin.agent, origin.lane, places=limits.max_concurrency),
        max_attempts=limits.max_attempts,
        timeout_seconds=limits.timeout_seconds,
        # Who asked then is who the agent answers, remembers for and may act for; who asks now is in the event.
        actor=origin.actor,
        input=found.input,
        hops=origin.hops,
        conversation_id=origin.conversation_id,
        origin_run_id=origin.run_id,
        dry=True,
        variant=variant,
    )
