"""Units of work: what a running run writes about itself, each only while its claim holds (DESIGN.md, rules 5 and 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, insert, or_, select, update

from callboard.errors import ConflictError, FencedError
from callboard.state.codec import decode, encode
from callboard.state.database import one_statement
from callboard.state.effects import Claim, EffectDraft, EffectRecord, EffectStatus
from callboard.state.finishing import ProgressDraft
from callboard.state.models import effects, run_messages, runs
from callboard.state.runs import RunStatus, Usage
from callboard.state.sql.budgets import Charge, charge, model_calls
from callboard.state.sql.direct import Row, change, fetch
from callboard.state.sql.ending import note
from callboard.state.sql.finishing import append_messages

HELD = (
    select(runs)
    .where(
        runs.c.run_id == bindparam("run_id"),
        runs.c.fencing == bindparam("fencing"),
        runs.c.status == RunStatus.RUNNING.value,
    )
    .with_for_update()
)
ENTRIES = (
    select(run_messages.c.message)
    .where(run_messages.c.run_id == bindparam("run_id"), run_messages.c.context_no == bindparam("context_no"))
    .order_by(run_messages.c.n)
)
USED = (
    update(runs)
    .where(runs.c.seq == bindparam("b_seq"))
    .values(input_tokens=bindparam("b_input"), output_tokens=bindparam("b_output"), cost_usd=bindparam("b_cost"))
)
TAINTED = update(runs).where(runs.c.seq == bindparam("b_seq")).values(tainted=True)
EFFECT = (
    select(effects)
    .where(
        effects.c.run_id == bindparam("run_id"),
        effects.c.context_no == bindparam("context_no"),
        effects.c.key == bindparam("key"),
    )
    .with_for_update()
)
NEW_EFFECT = insert(effects)
_THIS_EFFECT = (
    effects.c.run_id == bindparam("b_run_id"),
    effects.c.context_no == bindparam("b_context_no"),
    effects.c.key == bindparam("b_key"),
)
BEGUN_AGAIN = (
    update(effects)
    .where(*_THIS_EFFECT)
    .values(
        status=EffectStatus.ATTEMPTING.value,
        fencing=bindparam("b_fencing"),
        started_at=bindparam("b_started_at"),
    )
)
ENDED = (
    update(effects)
    .where(*_THIS_EFFECT)
    .values(status=bindparam("b_status"), result=bindparam("b_result"), finished_at=bindparam("b_finished_at"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Messages that a run adds to its entries, what they cost, and lines for those who watch it.

    `cost_known` is false where some of it has no known price: what was reserved for it counts as spent.
    `tainted`: strangers may have written some of the messages, which the run remembers from then on.
    """

    messages: tuple[Any, ...]
    usage: Usage = Usage()  # noqa: RUF009  # frozen
    cost_usd: float = 0.0
    cost_known: bool = True
    progress: tuple[ProgressDraft, ...] = ()
    tainted: bool = False


@one_statement
def entries(connection: Connection, run_id: str, context_no: int) -> list[Any]:
    """All messages of one context, oldest first."""
    rows = connection.execute(ENTRIES, {"run_id": run_id, "context_no": context_no}).scalars()
    return [decode(message) for message in rows]


def append(connection: Connection, claim: Claim, checkpoint: Checkpoint, now: datetime) -> None:
    row = _held(connection, claim)
    _write(connection, row, checkpoint, now)


def begin_effect(
    connection: Connection,
    claim: Claim,
    draft: EffectDraft,
    now: datetime,
    *,
    repeat: bool,
    progress: Sequence[ProgressDraft] = (),
) -> EffectRecord | None:
    """None when the call may be made and is recorded as attempting; else what the ledger knows of it."""
    row = _held(connection, claim)
    known = _effect(connection, row, draft.key)
    if known is None:
        _insert(connection, row, draft, EffectStatus.ATTEMPTING, None, now)
        _note(connection, row, progress, now)
        return None
    _check_same(known, draft)
    if known.status is EffectStatus.DONE or (known.status is EffectStatus.ATTEMPTING and not repeat):
        return known
    place = {"b_run_id": row["run_id"], "b_context_no": row["context_no"], "b_key": draft.key}
    change(connection, BEGUN_AGAIN, [{**place, "b_fencing": claim.fencing, "b_started_at": now}])
    _note(connection, row, progress, now)
    return None


def end_effect(
    connection: Connection,
    claim: Claim,
    draft: EffectDraft,
    status: EffectStatus,
    result: str,
    checkpoint: Checkpoint,
    now: datetime,
) -> None:
    """Records how the call ended, with its messages; ending it again changes nothing."""
    row = _held(connection, claim)
    known = _effect(connection, row, draft.key)
    if known is None:
        _insert(connection, row, draft, status, result, now)
    else:
        _check_same(known, draft)
        if known.status is EffectStatus.DONE:
            return
        place = {"b_run_id": row["run_id"], "b_context_no": row["context_no"], "b_key": draft.key}
        end = {"b_status": status.value, "b_result": encode(result), "b_finished_at": now}
        change(connection, ENDED, [{**place, **end}])
    _write(connection, row, checkpoint, now)


@one_statement
def has_lasting_effect(connection: Connection, run_id: str, context_no: int) -> bool:
    """Whether the ledger of the context knows a tool that is not idempotent: then no fresh context is allowed."""
    found = connection.execute(
        select(effects.c.key)
        .where(
            effects.c.run_id == run_id,
            effects.c.context_no == context_no,
            effects.c.idempotent.is_(False),
            effects.c.status != EffectStatus.FAILED.value,
        )
        .limit(1)
    ).first()
    return found is not None


@one_statement
def is_tainted(connection: Connection, tenant: str, trace_id: str, dry_root: str | None) -> bool:
    """Whether any run under the trace id has been shown what strangers may have written.

    A rehearsal, whose first run is `dry_root`, knows only what its own runs were shown, and nobody else knows that.
    """
    of_them: ColumnElement[bool] = runs.c.dry.is_not(True)
    if dry_root is not None:
        of_them = or_(runs.c.run_id == dry_root, runs.c.root_run_id == dry_root)
    found = connection.execute(
        select(runs.c.run_id)
        .where(runs.c.tenant == tenant, runs.c.trace_id == trace_id, runs.c.tainted.is_(True), of_them)
        .limit(1)
    ).first()
    return found is not None


def add_progress(
    connection: Connection, claim: Claim, lines: Sequence[tuple[str, dict[str, Any]]], now: datetime
) -> None:
    _held(connection, claim)
    note(connection, [(claim.run_id, kind, data) for kind, data in lines], now)


def effect_of(row: Row) -> EffectRecord:
    return EffectRecord(
        key=row["key"],
        tool=row["tool"],
        digest=row["digest"],
        idempotent=row["idempotent"],
        status=EffectStatus(row["status"]),
        fencing=row["fencing"],
        result=None if row["result"] is None else decode(row["result"]),
    )


def _held(connection: Connection, claim: Claim) -> Row:
    rows = fetch(connection, HELD, {"run_id": claim.run_id, "fencing": claim.fencing})
    if not rows:
        raise FencedError(f"run {claim.run_id} is no longer in the hands of claim {claim.fencing}")
    return rows[0]


def _write(connection: Connection, row: Row, checkpoint: Checkpoint, now: datetime) -> None:
    if checkpoint.messages:
        append_messages(connection, row, checkpoint.messages, now)
    _note(connection, row, checkpoint.progress, now)
    if checkpoint.tainted:
        _taint(connection, row)
    usage = checkpoint.usage
    if usage.input_tokens or usage.output_tokens or checkpoint.cost_usd:
        sums = {
            "b_seq": row["seq"],
            "b_input": row["input_tokens"] + usage.input_tokens,
            "b_output": row["output_tokens"] + usage.output_tokens,
            "b_cost": row["cost_usd"] + checkpoint.cost_usd,
        }
        change(connection, USED, [sums])
        calls = model_calls((line.kind, line.data) for line in checkpoint.progress)
        used = Charge(
            row=row,
            usd=checkpoint.cost_usd,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            in_full=not checkpoint.cost_known,
            calls=calls,
        )
        charge(connection, [used], now)


def _taint(connection: Connection, row: Row) -> None:
    if not row["tainted"]:
        change(connection, TAINTED, [{"b_seq": row["seq"]}])


def _note(connection: Connection, row: Row, lines: Sequence[ProgressDraft], now: datetime) -> None:
    note(connection, [(row["run_id"], line.kind, line.data) for line in lines], now)


def _effect(connection: Connection, row: Row, key: str) -> EffectRecord | None:
    found = fetch(connection, EFFECT, {"run_id": row["run_id"], "context_no": row["context_no"], "key": key})
    return effect_of(found[0]) if found else None


def _insert(
    connection: Connection,
    row: Row,
    draft: EffectDraft,
    status: EffectStatus,
    result: str | None,
    now: datetime,
) -> None:
    change(
        connection,
        NEW_EFFECT,
        [
            {
                "run_id": row["run_id"],
                "context_no": row["context_no"],
                "key": draft.key,
                "tool": draft.tool,
                "digest": draft.digest,
                "idempotent": draft.idempotent,
                "status": status.value,
                "fencing": row["fencing"],
                "result": None if result is None else encode(result),
                "started_at": now,
                "finished_at": None if status is EffectStatus.ATTEMPTING else now,
            }
        ],
    )


def _check_same(known: EffectRecord, draft: EffectDraft) -> None:
    if (known.tool, known.digest) != (draft.tool, draft.digest):
        raise ConflictError(
            f"effect {draft.key} is in the ledger as {known.tool} with other arguments, not as {draft.tool}",
            code="effect_mismatch",
        )
