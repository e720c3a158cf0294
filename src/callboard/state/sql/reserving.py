"""Units of work: reserving money before a model call (DESIGN.md, R20)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, insert, select, text, update

from callboard.errors import FencedError
from callboard.state.budgets import (
    PAYERS,
    Account,
    Limit,
    Origin,
    Reservation,
    Reserved,
    Standing,
    decide,
    strictest,
)
from callboard.state.codec import decode
from callboard.state.database import one_statement
from callboard.state.effects import Claim
from callboard.state.models import events, reservations, runs, spending
from callboard.state.sql.direct import Row, change, fetch
from callboard.state.sql.journal import HELD

KNOWN = select(reservations.c.usd).where(
    reservations.c.run_id == bindparam("run_id"),
    reservations.c.fencing == bindparam("fencing"),
    reservations.c.call == bindparam("call"),
)
OPEN_ACCOUNT = text(
    "INSERT INTO spending (tenant, scope, name, day, usd, estimated_usd, raised_usd, "
    "input_tokens, output_tokens, model_calls) "
    "VALUES (:tenant, :scope, :name, :day, 0, 0, 0, 0, 0, 0) ON CONFLICT (tenant, scope, name, day) DO NOTHING"
)
ACCOUNT = (
    select(spending.c.usd, spending.c.raised_usd)
    .where(
        spending.c.tenant == bindparam("tenant"),
        spending.c.scope == bindparam("scope"),
        spending.c.name == bindparam("name"),
        spending.c.day == bindparam("day"),
    )
    .with_for_update()
)
HELD_BACK = select(
    func.coalesce(func.sum(reservations.c.usd), 0.0).label("all_usd"),
    func.coalesce(
        func.sum(case((reservations.c.run_id == bindparam("run_id"), reservations.c.usd), else_=0.0)), 0.0
    ).label("own_usd"),
).where(
    reservations.c.tenant == bindparam("tenant"),
    reservations.c.scope == bindparam("scope"),
    reservations.c.name == bindparam("name"),
    reservations.c.day == bindparam("day"),
)
RESERVE = insert(reservations)
MARK = update(runs).where(runs.c.seq == bindparam("b_seq")).values(reserved=True)


def reserve(
    connection: Connection, claim: Claim, call: int, worst_usd: float, limits: Sequence[Limit], now: datetime
) -> Reservation:
    """Holds back `worst_usd` on every account with a limit, or on none of them.

    Asked again for the same call of the same claim, it is the same reservation (DESIGN.md, R7). Raises FencedError
    when the claim no longer holds the run.
    """
    found = fetch(connection, HELD, {"run_id": claim.run_id, "fencing": claim.fencing})
    if not found:
        raise FencedError(f"run {claim.run_id} is no longer in the hands of claim {claim.fencing}")
    row = found[0]
    known = {"run_id": claim.run_id, "fencing": claim.fencing, "call": call}
    if row["reserved"] and fetch(connection, KNOWN, known):
        return Reserved()
    ordered = strictest(limits)
    standings = [_standing(connection, row, limit) for limit in ordered]
    decision = decide(standings, worst_usd)
    if isinstance(decision, Reserved) and ordered:
        accounts = [_account_row(row["tenant"], limit.account) for limit in ordered]
        change(connection, RESERVE, [{**account, **known, "usd": worst_usd, "created_at": now} for account in accounts])
        if not row["reserved"]:
            change(connection, MARK, [{"b_seq": row["seq"]}])
    return decision


@one_statement
def load_origin(connection: Connection, root_run_id: str) -> Origin | None:
    """Of a run that no other run stands above."""
    row = (
        connection.execute(
            select(runs.c.agent, runs.c.reply_to, runs.c.actor, events.c.payload)
            .join(events, events.c.event_id == runs.c.event_id, isouter=True)
            .where(runs.c.run_id == root_run_id)
        )
        .mappings()
        .first()
    )
    if row is None:
        return None
    payload = None if row["payload"] is None else decode(row["payload"])
    known = payload.get("channel") if isinstance(payload, dict) else None
    channel = (row["reply_to"] or {}).get("channel")
    name = known.get("name") if isinstance(known, dict) and known.get("id") == channel else None
    if name is None and channel is not None and channel.startswith("#"):
        name = channel[1:]
    user = row["actor"]["id"] if row["actor"]["kind"] in PAYERS else None
    return Origin(agent=row["agent"], channel=channel, channel_name=name, user=user)


def _standing(connection: Connection, row: Row, limit: Limit) -> Standing:
    """The account is held from here to the commit."""
    account = _account_row(row["tenant"], limit.account)
    held = fetch(connection, ACCOUNT, account)
    if not held:
        connection.execute(OPEN_ACCOUNT, account)
        held = fetch(connection, ACCOUNT, account)
    (back,) = fetch(connection, HELD_BACK, {**account, "run_id": row["run_id"]})
    return Standing(
        limit=limit,
        spent_usd=held[0]["usd"],
        raised_usd=held[0]["raised_usd"],
        own_usd=back["own_usd"],
        others_usd=back["all_usd"] - back["own_usd"],
    )


def _account_row(tenant: str, account: Account) -> dict[str, Any]:
    return {"tenant": tenant, "scope": account.scope.value, "name": account.name, "day": account.day}
