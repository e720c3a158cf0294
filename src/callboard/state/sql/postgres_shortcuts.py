"""The ordinary case of the busiest units in one statement each, which is its own transaction (DESIGN.md, R36).

A round trip costs more than what these statements do. What is not ordinary is left to the unit itself: an event that
is known, a run with a turn, a place, a plan or an answer to send, a suspect. Every statement takes no row that it
does not own, so it may run beside the units and be repeated like them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from callboard.state.accepting import Accepted, EventDraft
from callboard.state.announcements import run_events
from callboard.state.codec import decode, encode
from callboard.state.finishing import Consequences, Settled, Settlement, StoredEvent
from callboard.state.models import CLAIMABLE, dedupe_keys, events, progress, run_io, runs
from callboard.state.runs import SUSPECT_LOSSES, ClaimedRun, ClaimRequest
from callboard.state.sql.budgets import counts, model_calls
from callboard.state.sql.claiming import claim
from callboard.state.sql.direct_postgres import columns_of, unnested
from callboard.state.sql.events import PUBLISH_AGAIN_AFTER, accept_events
from callboard.state.sql.finishing import settle
from callboard.state.sql.rows import event_row, run_of

UNHANDLED: Any = object()
"""In place of the result of an item that is left to the unit."""

Shortcut = Callable[[Any, Sequence[Any]], Awaitable[Sequence[Any]]]
"""From the driver's connection, outside any transaction, and the items to their results."""

_EVENT = (
    "tenant", "event_id", "event_type", "topic", "occurred_at", "accepted_at", "trace_id", "causation_id",
    "conversation_id", "priority", "hops", "actor", "payload", "digest", "schema_version",
)  # fmt: skip
_KEY = ("tenant", "key", "event_id", "digest", "created_at")
_EVENTS = ", ".join(_EVENT)
_KEYS = ", ".join(_KEY)
_AGAIN = f"interval '{PUBLISH_AGAIN_AFTER.total_seconds()} seconds'"

# The names in these texts are those of our own tables; values are parameters.
_ACCEPT = f"""
WITH given AS (
    SELECT * FROM {unnested(events, _EVENT)} WITH ORDINALITY AS given ({_EVENTS}, place)
), keys AS (
    SELECT * FROM {unnested(dedupe_keys, _KEY, first=len(_EVENT) + 1)} AS keys ({_KEYS})
), clash AS (
    SELECT FROM events WHERE event_id = ANY ($2::varchar[])
    UNION ALL SELECT FROM dedupe_keys JOIN keys USING (tenant, key)
), stored AS (
    INSERT INTO events ({_EVENTS}) SELECT {_EVENTS} FROM given WHERE NOT EXISTS (SELECT FROM clash) ORDER BY place
    RETURNING seq, accepted_at
), told AS (
    INSERT INTO outbox (event_seq, next_try) SELECT seq, accepted_at + {_AGAIN} FROM stored
), keyed AS (
    INSERT INTO dedupe_keys ({_KEYS}) SELECT {_KEYS} FROM keys WHERE EXISTS (SELECT FROM stored)
)
SELECT seq FROM stored ORDER BY seq
"""  # noqa: S608

_CLAIM = f"""
WITH ready AS MATERIALIZED (
    SELECT seq, lane, rank FROM runs
    WHERE {CLAIMABLE} AND mode = $1 AND available_at <= $2 AND lease_losses < {SUSPECT_LOSSES}
      AND agent <> ALL (ARRAY(SELECT agent FROM agent_status WHERE status = 'paused'))
    ORDER BY rank, seq LIMIT $3 FOR UPDATE SKIP LOCKED
), known AS MATERIALIZED (
    SELECT
        EXISTS (SELECT FROM processes WHERE id = $5 AND NOT dead) AS alive,
        EXISTS (SELECT FROM runs WHERE owner = $5 AND status = 'running' AND claim_token = $6) AS own,
        CASE WHEN NOT $7 THEN false WHEN (SELECT count(*) FROM ready) < $3 THEN EXISTS (
            SELECT FROM runs
            WHERE {CLAIMABLE} AND mode = $1 AND available_at <= $2 AND lease_losses >= {SUSPECT_LOSSES}
        ) ELSE EXISTS (
            SELECT FROM runs
            WHERE {CLAIMABLE} AND mode = $1 AND available_at <= $2 AND lease_losses >= {SUSPECT_LOSSES}
              AND (rank, seq) < (SELECT rank, seq FROM ready ORDER BY rank DESC, seq DESC LIMIT 1)
        ) END AS suspect
), alive AS MATERIALIZED (
    SELECT id FROM processes
    WHERE id = $5 AND NOT dead AND EXISTS (SELECT FROM ready) AND NOT (SELECT own OR suspect FROM known) FOR KEY SHARE
), chosen AS (
    SELECT seq, row_number() OVER (PARTITION BY lane = 'batch' ORDER BY rank, seq) AS place, lane = 'batch' AS batch
    FROM ready
), taken AS (
    UPDATE runs SET status = 'running', owner = $5, claim_token = $6, fencing = fencing + 1, attempt = failures + 1,
                    started_at = coalesce(started_at, $2)
    WHERE seq = ANY (ARRAY(SELECT seq FROM chosen WHERE NOT batch OR place <= $4)) AND EXISTS (SELECT FROM alive)
    RETURNING *
)
SELECT known.alive, known.own, known.suspect, taken.*, run_io.input
FROM known LEFT JOIN taken ON true LEFT JOIN run_io USING (run_id)
ORDER BY taken.rank, taken.seq
"""  # noqa: S608

_HELD = """
SELECT seq, run_id, tenant, event_id, trace_id, agent, mode, attempt, fencing, conversation_id, hops, dry
FROM runs
WHERE run_id = ANY ($1::varchar[]) AND status = 'running' AND cancel_requested_at IS NULL AND mode <> 'collaborative'
  AND order_key IS NULL AND place_key IS NULL AND parent_run_id IS NULL
  AND (reply_to IS NULL OR reply_to = 'null'::jsonb) AND reserved IS NOT TRUE
"""
_END = ("seq", "fencing", "status", "finished_at", "cost_usd", "input_tokens", "output_tokens")
_IO = ("run_id", "output", "error")
_LINE = ("run_id", "n", "kind", "data")
_END_ARRAYS = unnested(runs, _END).removesuffix(")").removeprefix("unnest(")
_IO_ARRAYS = unnested(run_io, _IO, first=len(_END) + 1).removesuffix(")").removeprefix("unnest(")
_OF_EVENT = len(_END) + len(_IO) + 1
_SETTLE = f"""
WITH given AS (
    SELECT * FROM unnest({_END_ARRAYS}, {_IO_ARRAYS}) AS given ({", ".join((*_END, *_IO))})
), ended AS (
    UPDATE runs SET status = given.status, ready = false, has_turn = false, has_place = false, owner = NULL,
        claim_token = NULL, waiting_kind = NULL, waiting_id = NULL, waiting_since = NULL,
        finished_at = given.finished_at, cost_usd = runs.cost_usd + given.cost_usd,
        input_tokens = runs.input_tokens + given.input_tokens, output_tokens = runs.output_tokens + given.output_tokens
    FROM given
    WHERE runs.seq = given.seq AND runs.fencing = given.fencing AND runs.status = 'running'
      AND runs.cancel_requested_at IS NULL
    RETURNING runs.run_id
), kept AS (
    UPDATE run_io SET output = given.output, error = given.error FROM given JOIN ended USING (run_id)
    WHERE run_io.run_id = given.run_id
), noted AS (
    INSERT INTO progress (run_id, n, kind, data, created_at)
    SELECT run_id, coalesce((SELECT max(n) FROM progress AS before WHERE before.run_id = given.run_id), 0) + line.n,
        kind, data, finished_at
    FROM {unnested(progress, _LINE, first=_OF_EVENT + len(_EVENT) + 1)} AS line ({", ".join(_LINE)})
    JOIN ended USING (run_id) JOIN given USING (run_id)
), stored AS (
    INSERT INTO events ({_EVENTS})
    SELECT {_EVENTS} FROM {unnested(events, _EVENT, first=_OF_EVENT).removesuffix(")")},
        ${_OF_EVENT + len(_EVENT)}::varchar[]) WITH ORDINALITY AS told ({_EVENTS}, run_id, place)
    JOIN ended USING (run_id) ORDER BY place
    RETURNING seq, event_id, accepted_at
), told AS (
    INSERT INTO outbox (event_seq, next_try) SELECT seq, accepted_at + {_AGAIN} FROM stored
)
SELECT run_id, NULL::bigint AS seq, NULL::varchar AS event_id FROM ended
UNION ALL SELECT NULL, seq, event_id FROM stored
"""  # noqa: S608


async def accept(driver: Any, drafts: Sequence[EventDraft]) -> Sequence[Accepted]:
    """All of the events are new, and none of their keys is known."""
    ids = {draft.event.event_id for draft in drafts}
    keys = [
        {
            "tenant": draft.event.tenant,
            "key": key,
            "event_id": draft.event.event_id,
            "digest": draft.digest,
            "created_at": draft.event.timestamp,
        }
        for draft in drafts
        for key in dict.fromkeys(draft.dedupe_keys)
    ]
    if len(ids) < len(drafts) or len({(row["tenant"], row["key"]) for row in keys}) < len(keys):
        return [UNHANDLED] * len(drafts)
    rows = [event_row(draft.event, draft.digest) for draft in drafts]
    found = await driver.fetch(_ACCEPT, *columns_of(events, _EVENT, rows), *columns_of(dedupe_keys, _KEY, keys))
    if not found:
        return [UNHANDLED] * len(drafts)
    return [
        Accepted(event_id=draft.event.event_id, trace_id=draft.event.trace_id, seq=row["seq"], duplicate=False)
        for draft, row in zip(drafts, found, strict=True)
    ]


async def take(driver: Any, requests: Sequence[ClaimRequest]) -> Sequence[list[ClaimedRun]]:
    """The process is alive and closed to no agent, the claim no repetition, and no suspect waits that it could take."""
    return [UNHANDLED if request.closed_agents else await _take(driver, request) for request in requests]


async def _take(driver: Any, request: ClaimRequest) -> Any:
    found = await driver.fetch(
        _CLAIM,
        request.mode,
        request.now,
        request.slots,
        max(0, request.batch_slots),
        request.process_id,
        request.token,
        request.suspect,
    )
    known = found[0]
    taken = [ClaimedRun(run=run_of(row), input=decode(row["input"])) for row in found if row["seq"] is not None]
    return taken if known["alive"] and not known["own"] and not known["suspect"] else UNHANDLED


async def finish(driver: Any, items: Sequence[Settlement]) -> Sequence[Any]:
    """Runs that end, that nobody takes turns with, and whose end nobody waits for."""
    first: dict[str, Settlement] = {}
    for item in items:
        first.setdefault(item.run_id, item)
    plain = {run_id: item for run_id, item in first.items() if _is_plain(item)}
    rows = {row["run_id"]: row for row in await driver.fetch(_HELD, list(plain))} if plain else {}
    ready = [(row, plain[run_id]) for run_id, row in rows.items() if row["fencing"] == plain[run_id].fencing]
    if not ready:
        return [UNHANDLED] * len(items)
    told = {row["run_id"]: run_events(row, item.status, items[0].now, item.output, item.error) for row, item in ready}
    announced = [(run_id, event) for run_id, of_run in told.items() for event in of_run]
    found = await driver.fetch(
        _SETTLE,
        *columns_of(runs, _END, [_end_row(row, item, items[0].now) for row, item in ready]),
        *columns_of(run_io, _IO, [_io_row(item) for _, item in ready]),
        *columns_of(events, _EVENT, [event_row(event) for _, event in announced]),
        [run_id for run_id, _ in announced],
        *columns_of(progress, _LINE, [line for _, item in ready for line in _lines(item)]),
    )
    seqs = {row["event_id"]: row["seq"] for row in found if row["event_id"] is not None}
    ended = {row["run_id"] for row in found if row["run_id"] is not None}
    return [
        Settled(
            status=item.status,
            consequences=Consequences(
                events=tuple(StoredEvent(seq=seqs[event.event_id], event=event) for event in told[item.run_id])
            ),
        )
        if item.run_id in ended and plain.get(item.run_id) is item
        else UNHANDLED
        for item in items
    ]


def _is_plain(item: Settlement) -> bool:
    extras = (item.messages, item.question, item.children, item.plan, item.plan_state, item.state, item.events)
    paid = item.cost_usd or counts(model_calls((line.kind, line.data) for line in item.progress))
    return item.status.terminal and not any(extras) and not paid


def _lines(item: Settlement) -> list[dict[str, Any]]:
    """The last of its progress, numbered from 1."""
    lines = [*((line.kind, line.data) for line in item.progress), ("status", {"status": item.status.value})]
    return [{"run_id": item.run_id, "n": n, "kind": kind, "data": data} for n, (kind, data) in enumerate(lines, 1)]


def _end_row(row: Mapping[str, Any], item: Settlement, now: Any) -> dict[str, Any]:
    return {
        "seq": row["seq"],
        "fencing": row["fencing"],
        "status": item.status.value,
        "finished_at": now,
        "cost_usd": item.cost_usd,
        "input_tokens": item.usage.input_tokens,
        "output_tokens": item.usage.output_tokens,
    }


def _io_row(item: Settlement) -> dict[str, Any]:
    return {
        "run_id": item.run_id,
        "output": None if item.output is None else encode(item.output),
        "error": None if item.error is None else {"code": item.error.code, "message": item.error.message},
    }


SHORTCUTS: Mapping[Callable[..., Any], Shortcut] = MappingProxyType(
    {accept_events: accept, claim: take, settle: finish}
)
