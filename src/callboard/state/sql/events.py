"""Units of work: accepting events, recording what the system itself has to tell, reading events back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select

from callboard.errors import ConflictError
from callboard.messaging.events import Event
from callboard.state.accepting import Accepted, EventDraft
from callboard.state.codec import decode, encode
from callboard.state.finishing import StoredEvent
from callboard.state.models import dedupe_keys, events, outbox
from callboard.state.sql.direct import change, column, fetch, insert_numbered
from callboard.state.sql.rows import event_row

PUBLISH_AGAIN_AFTER = timedelta(seconds=5)
"""The relay leaves a fresh event alone for this long: its own process publishes it right after the commit."""

# Built once: making an expression anew costs more than running it.
KNOWN_IDS = select(events.c.event_id).where(events.c.event_id.in_(bindparam("ids", expanding=True)))
KNOWN_EVENTS = select(events.c.event_id, events.c.payload).where(
    events.c.event_id.in_(bindparam("ids", expanding=True))
)
KNOWN_KEYS = select(dedupe_keys.c.tenant, dedupe_keys.c.key, dedupe_keys.c.event_id, dedupe_keys.c.digest).where(
    dedupe_keys.c.tenant.in_(bindparam("tenants", expanding=True)),
    dedupe_keys.c.key.in_(bindparam("keys", expanding=True)),
)
INSERT_EVENTS = insert(events)
INSERT_OUTBOX = insert(outbox)
INSERT_KEYS = insert(dedupe_keys)


def accept_events(connection: Connection, drafts: Sequence[EventDraft]) -> list[Accepted]:
    """Stores each event once under all of its keys; a repetition is answered with the event that came first.

    Raises ConflictError where a key is known with another digest (`idempotency_conflict`), or an event's own id with
    another payload (`event_id_conflict`): two things that happened are never merged into one.
    """
    known_events, known_keys = _known(connection, drafts)
    fresh: dict[str, EventDraft] = {}
    owner: dict[tuple[str, str], tuple[str, str | None]] = dict(known_keys)
    resolved: list[str] = []
    for draft in drafts:
        event = draft.event
        first = next((owner[event.tenant, key] for key in draft.dedupe_keys if (event.tenant, key) in owner), None)
        if first is not None:
            _same_digest(draft, first[1])
            resolved.append(first[0])
        elif event.event_id in known_events or event.event_id in fresh:
            stored_as = known_events.get(event.event_id) or encode(fresh[event.event_id].event.payload)
            _same_payload(event, stored_as)
            resolved.append(event.event_id)
        else:
            fresh[event.event_id] = draft
            resolved.append(event.event_id)
            owner.update(
                dict.fromkeys(((event.tenant, key) for key in draft.dedupe_keys), (event.event_id, draft.digest))
            )
    stored = record(connection, [draft.event for draft in fresh.values()], [draft.digest for draft in fresh.values()])
    keys = [
        {
            "tenant": draft.event.tenant,
            "key": key,
            "event_id": draft.event.event_id,
            "digest": draft.digest,
            "created_at": draft.event.timestamp,
        }
        for draft in fresh.values()
        for key in dict.fromkeys(draft.dedupe_keys)
    ]
    change(connection, INSERT_KEYS, keys)
    return _answers(connection, drafts, resolved, fresh, stored)


def _known(
    connection: Connection, drafts: Sequence[EventDraft]
) -> tuple[dict[str, bytes], dict[tuple[str, str], tuple[str, str | None]]]:
    """The payloads of known events by id, and the owners of known keys."""
    found = fetch(connection, KNOWN_EVENTS, {"ids": [draft.event.event_id for draft in drafts]})
    payloads = {row["event_id"]: row["payload"] for row in found}
    keys = {key for draft in drafts for key in draft.dedupe_keys}
    if not keys:
        return payloads, {}
    tenants = {draft.event.tenant for draft in drafts}
    rows = fetch(connection, KNOWN_KEYS, {"tenants": list(tenants), "keys": list(keys)})
    return payloads, {(row["tenant"], row["key"]): (row["event_id"], row["digest"]) for row in rows}


def _same_digest(draft: EventDraft, digest: str | None) -> None:
    if draft.digest is not None and digest is not None and draft.digest != digest:
        raise ConflictError(
            f"the idempotency key {draft.dedupe_keys[0]!r} was used before with another body: use a new key for a new "
            "request, or send the same body again",
            code="idempotency_conflict",
            field="idempotency_key",
        )


def _same_payload(event: Event, stored: bytes) -> None:
    if decode(stored) != decode(encode(event.payload)):
        raise ConflictError(
            f"event {event.event_id} is stored with another payload: a new event needs an id of its own",
            code="event_id_conflict",
            field="event_id",
        )


def _answers(
    connection: Connection,
    drafts: Sequence[EventDraft],
    resolved: list[str],
    fresh: dict[str, EventDraft],
    stored: Sequence[StoredEvent],
) -> list[Accepted]:
    seqs = {item.event.event_id: (item.seq, item.event.trace_id) for item in stored}
    missing = [event_id for event_id in resolved if event_id not in seqs]
    if missing:
        rows = connection.execute(
            select(events.c.event_id, events.c.seq, events.c.trace_id).where(events.c.event_id.in_(missing))
        )
        seqs.update({row.event_id: (row.seq, row.trace_id) for row in rows})
    answered: list[Accepted] = []
    taken: set[str] = set()
    for draft, event_id in zip(drafts, resolved, strict=True):
        seq, trace_id = seqs[event_id]
        first = event_id in fresh and draft is fresh[event_id] and event_id not in taken
        taken.add(event_id)
        answered.append(Accepted(event_id=event_id, trace_id=trace_id, seq=seq, duplicate=not first))
    return answered


def record(
    connection: Connection,
    fresh: Sequence[Event],
    digests: Sequence[str | None] | None = None,
    *,
    routed: bool = False,
) -> tuple[StoredEvent, ...]:
    """Stores events that are known to be new, with their outbox rows; `routed` ones are never routed to agents."""
    if not fresh:
        return ()
    rows: list[dict[str, Any]] = []
    for index, event in enumerate(fresh):
        row = event_row(event, digests[index] if digests is not None else None)
        row["routed_at"] = event.timestamp if routed else None
        rows.append(row)
    seqs = insert_numbered(connection, INSERT_EVENTS, rows)
    change(
        connection,
        INSERT_OUTBOX,
        [
            {"event_seq": seq, "next_try": event.timestamp + PUBLISH_AGAIN_AFTER}
            for seq, event in zip(seqs, fresh, strict=True)
        ],
    )
    return tuple(StoredEvent(seq=seq, event=event) for seq, event in zip(seqs, fresh, strict=True))


def record_once(connection: Connection, drafts: Sequence[Event], *, routed: bool = False) -> tuple[StoredEvent, ...]:
    """Like `record`, but leaves out events whose id is stored already, so that a repeated unit tells nothing twice."""
    if not drafts:
        return ()
    known = set(column(connection, KNOWN_IDS, {"ids": [event.event_id for event in drafts]}))
    unique = {event.event_id: event for event in drafts if event.event_id not in known}
    return record(connection, list(unique.values()), routed=routed)
