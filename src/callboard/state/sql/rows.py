"""Between table rows and records."""

from __future__ import annotations

from typing import Any

from callboard.messaging.events import Actor, Event, EventPriority
from callboard.messaging.reply import ReplyTo
from callboard.state.codec import decode, encode
from callboard.state.finishing import StoredEvent
from callboard.state.readiness import at_once
from callboard.state.replays import Variant
from callboard.state.runs import Lane, Run, RunDraft, RunStatus, Usage, WaitingFor, WaitingKind
from callboard.state.sql.direct import Row


def actor_record(actor: Actor) -> dict[str, Any]:
    return {"kind": actor.kind, "id": actor.id, "team": actor.team, "via": actor.via}


def actor_of(record: dict[str, Any]) -> Actor:
    return Actor(kind=record["kind"], id=record["id"], team=record.get("team"), via=record.get("via"))


def event_row(event: Event, digest: str | None = None) -> dict[str, Any]:
    return {
        "tenant": event.tenant,
        "event_id": event.event_id,
        "event_type": event.event_type,
        "topic": event.topic,
        "occurred_at": event.timestamp,
        "accepted_at": event.timestamp,
        "trace_id": event.trace_id,
        "causation_id": event.causation_id,
        "conversation_id": event.conversation_id,
        "priority": event.priority.value,
        "hops": event.hops,
        "actor": actor_record(event.actor),
        "payload": encode(event.payload),
        "digest": digest,
        "schema_version": event.schema_version,
    }


def stored_event(row: Row) -> StoredEvent:
    return StoredEvent(
        seq=row["seq"],
        event=Event(
            event_id=row["event_id"],
            event_type=row["event_type"],
            topic=row["topic"],
            timestamp=row["occurred_at"],
            trace_id=row["trace_id"],
            actor=actor_of(row["actor"]),
            payload=decode(row["payload"]),
            causation_id=row["causation_id"],
            conversation_id=row["conversation_id"],
            priority=EventPriority(row["priority"]),
            hops=row["hops"],
            schema_version=row["schema_version"],
            tenant=row["tenant"],
        ),
    )


def run_row(draft: RunDraft, now: Any) -> dict[str, Any]:
    """The row of a run that is queued and not yet admitted: `order.enter` gives it its turn and place."""
    return {
        "tenant": draft.tenant,
        "run_id": draft.run_id,
        "event_id": draft.event_id,
        "trace_id": draft.trace_id,
        "agent": draft.agent,
        "agent_version": draft.agent_version,
        "catalog": draft.catalog,
        "mode": draft.mode,
        "lane": draft.admission.lane.value,
        "rank": draft.admission.rank,
        "status": RunStatus.QUEUED.value,
        "ready": True,
        "available_at": at_once(now),
        "order_key": draft.admission.order_key,
        "key_seq": None,
        "has_turn": draft.admission.order_key is None,
        "place_key": draft.admission.place_key,
        "places": draft.admission.places,
        "has_place": draft.admission.place_key is None,
        "attempt": 0,
        "failures": 0,
        "max_attempts": draft.max_attempts,
        "context_no": 0,
        "lease_losses": 0,
        "fencing": 0,
        "conversation_id": draft.conversation_id,
        "parent_run_id": draft.parent_run_id,
        "root_run_id": draft.root_run_id,
        "step_id": draft.step_id,
        "origin_run_id": draft.origin_run_id,
        "dry": draft.dry,
        "variant": None if draft.variant is None else draft.variant.to_record(),
        "depth": draft.depth,
        "hops": draft.hops,
        "timeout_seconds": draft.timeout_seconds,
        "actor": actor_record(draft.actor),
        "reply_to": None if draft.reply_to is None else draft.reply_to.to_record(),
        "created_at": now,
        "cost_usd": 0.0,
        "input_tokens": 0,
        "output_tokens": 0,
    }


def run_of(row: Row) -> Run:
    waiting = None
    if row["waiting_kind"] is not None:
        waiting = WaitingFor(kind=WaitingKind(row["waiting_kind"]), id=row["waiting_id"], since=row["waiting_since"])
    return Run(
        seq=row["seq"],
        run_id=row["run_id"],
        tenant=row["tenant"],
        event_id=row["event_id"],
        trace_id=row["trace_id"],
        agent=row["agent"],
        agent_version=row["agent_version"],
        catalog=row["catalog"],
        mode=row["mode"],
        lane=Lane(row["lane"]),
        status=RunStatus(row["status"]),
        attempt=row["attempt"],
        failures=row["failures"],
        max_attempts=row["max_attempts"],
        context_no=row["context_no"],
        lease_losses=row["lease_losses"],
        fencing=row["fencing"],
        conversation_id=row["conversation_id"],
        order_key=row["order_key"],
        parent_run_id=row["parent_run_id"],
        root_run_id=row["root_run_id"],
        step_id=row["step_id"],
        origin_run_id=row["origin_run_id"],
        depth=row["depth"],
        hops=row["hops"],
        timeout_seconds=row["timeout_seconds"],
        actor=actor_of(row["actor"]),
        reply_to=None if row["reply_to"] is None else ReplyTo.from_record(row["reply_to"]),
        waiting_for=waiting,
        cancel_requested=row["cancel_requested_at"] is not None,
        created_at=row["created_at"],
        available_at=row["available_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        cost_usd=row["cost_usd"],
        usage=Usage(input_tokens=row["input_tokens"], output_tokens=row["output_tokens"]),
        cost_estimated=bool(row["cost_estimated"]),
        dry=bool(row["dry"]),
        variant=Variant.from_record(row["variant"]),
    )
