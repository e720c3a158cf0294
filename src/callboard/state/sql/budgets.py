"""Accounts of money inside other units: settling what a run had reserved, and raising limits (DESIGN.md, R8 and R20).

Accounts come last in the order of locks, and of one transaction all at once, in their own order: so no two
transactions wait for each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, text, update
from sqlalchemy.dialects import sqlite

from callboard.state.budgets import PAYERS, PLAYED_MODELS, RAISE_USD, Account, Scope, day_of
from callboard.state.models import reservations, runs, spending
from callboard.state.sql.direct import Row, change, fetch

MODEL_CALL = "model_call"
"""The kind of progress line that tells of one call: {model, input_tokens, output_tokens, cost_usd, …}."""

ADD = text(
    "INSERT INTO spending (tenant, scope, name, day, usd, estimated_usd, raised_usd, "
    "input_tokens, output_tokens, model_calls) "
    "VALUES (:tenant, :scope, :name, :day, :usd, :estimated_usd, :raised_usd, "
    ":input_tokens, :output_tokens, :model_calls) "
    "ON CONFLICT (tenant, scope, name, day) DO UPDATE SET usd = spending.usd + excluded.usd, "
    "estimated_usd = spending.estimated_usd + excluded.estimated_usd, "
    "raised_usd = spending.raised_usd + excluded.raised_usd, "
    "input_tokens = spending.input_tokens + excluded.input_tokens, "
    "output_tokens = spending.output_tokens + excluded.output_tokens, "
    "model_calls = spending.model_calls + excluded.model_calls"
)
_new = sqlite.insert(spending)
ADD_BY_THE_DRIVER = _new.on_conflict_do_update(
    index_elements=["tenant", "scope", "name", "day"],
    set_={
        name: spending.c[name] + _new.excluded[name]
        for name in ("usd", "estimated_usd", "raised_usd", "input_tokens", "output_tokens", "model_calls")
    },
)
"""The same for SQLite, where the toolkit's way through a statement costs more than all else that counting does."""
OF_RUNS = select(reservations).where(reservations.c.run_id.in_(bindparam("ids", expanding=True)))
FREE = delete(reservations).where(reservations.c.run_id == bindparam("b_run_id"))
ADDRESSES = select(runs.c.run_id, runs.c.reply_to).where(runs.c.run_id.in_(bindparam("ids", expanding=True)))
ESTIMATED = (
    update(runs)
    .where(runs.c.seq == bindparam("b_seq"))
    .values(cost_usd=runs.c.cost_usd + bindparam("b_usd", type_=runs.c.cost_usd.type), cost_estimated=True)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a run has used since it was last charged; `row` is the run's, which the transaction holds.

    `in_full`: nobody knows what the calls under way have cost, so what they had reserved counts as spent.
    `calls` are the data of the progress lines of kind `MODEL_CALL`.
    """

    row: Row
    usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    in_full: bool = False
    calls: Sequence[Mapping[str, Any]] = ()


def model_calls(lines: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """The data of the model calls among progress lines (kind, data)."""
    return [data for kind, data in lines if kind == MODEL_CALL]


def charge(connection: Connection, charges: Sequence[Charge], now: datetime) -> None:
    """Counts what was used and lets go of what was reserved; nothing at all for a scripted model that is free.

    The last thing that a transaction does to rows which others lock too.
    """
    wanted = [item for item in charges if item.row["reserved"] or item.usd > 0 or counts(item.calls)]
    if not wanted:
        return
    reserved = _reserved(connection, [item.row["run_id"] for item in wanted if item.row["reserved"]])
    addresses = _addresses(connection, [item.row for item in wanted])
    sums: dict[tuple[str, Account], _Sum] = defaultdict(_Sum)
    estimated = []
    for item in wanted:
        row, held = item.row, reserved.get(item.row["run_id"], [])
        worst = sum({(one["fencing"], one["call"]): one["usd"] for one in held}.values())
        usd = max(item.usd, worst) if item.in_full else item.usd
        if usd > item.usd:
            estimated.append({"b_seq": row["seq"], "b_usd": usd - item.usd})
        if not held and usd <= 0 and not counts(item.calls):
            continue
        calls = len(item.calls) or len({(one["fencing"], one["call"]) for one in held}) or 1
        for account in _accounts(row, held, addresses, day_of(now)):
            sums[row["tenant"], account].add(usd, usd - item.usd, item.input_tokens, item.output_tokens, calls)
        day = _day(held, now)
        for call in item.calls:
            account = Account(scope=Scope.MODEL, name=str(call.get("model"))[:200], day=day)
            sums[row["tenant"], account].add(
                call.get("cost_usd") or 0.0, 0.0, call.get("input_tokens") or 0, call.get("output_tokens") or 0, 1
            )
    if estimated:
        change(connection, ESTIMATED, estimated)
    if reserved:
        change(connection, FREE, [{"b_run_id": run_id} for run_id in reserved])
    _add(connection, sums)


def counts(calls: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a model of somebody's was asked, even a free one."""
    return any(call.get("model") not in PLAYED_MODELS for call in calls)


def raise_account(connection: Connection, tenant: str, account: Account) -> None:
    """Moves the account's limit by `RAISE_USD`."""
    _add(connection, {(tenant, account): _Sum(raised_usd=RAISE_USD)})


@dataclass(slots=True)
class _Sum:
    usd: float = 0.0
    estimated_usd: float = 0.0
    raised_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    model_calls: int = 0

    def add(self, usd: float, estimated_usd: float, input_tokens: int, output_tokens: int, calls: int) -> None:
        self.usd += usd
        self.estimated_usd += estimated_usd
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.model_calls += calls


def _add(connection: Connection, sums: Mapping[tuple[str, Account], _Sum]) -> None:
    if not sums:
        return
    rows = [
        {
            "tenant": tenant,
            "scope": account.scope.value,
            "name": account.name,
            "day": account.day,
            "usd": total.usd,
            "estimated_usd": total.estimated_usd,
            "raised_usd": total.raised_usd,
            "input_tokens": total.input_tokens,
            "output_tokens": total.output_tokens,
            "model_calls": total.model_calls,
        }
        for (tenant, account), total in sorted(sums.items(), key=lambda entry: entry[0])
    ]
    if connection.dialect.name == "sqlite":
        change(connection, ADD_BY_THE_DRIVER, rows)
    else:
        connection.execute(ADD, rows)


def _reserved(connection: Connection, run_ids: Sequence[str]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    if run_ids:
        for row in fetch(connection, OF_RUNS, {"ids": list(run_ids)}):
            found[row["run_id"]].append(row)
    return dict(found)


def _addresses(connection: Connection, rows: Sequence[Row]) -> dict[str, Any]:
    """Where the runs that steps belong to are answered: a step has no address of its own."""
    roots = {row["root_run_id"] for row in rows if row["root_run_id"] is not None and row["reply_to"] is None}
    if not roots:
        return {}
    return {row["run_id"]: row["reply_to"] for row in fetch(connection, ADDRESSES, {"ids": sorted(roots)})}


def _accounts(row: Row, held: Sequence[Row], addresses: Mapping[str, Any], today: str) -> set[Account]:
    """Everybody who pays for it: on the day of the reservation, where there is one."""
    day = max((one["day"] for one in held), default="") or today
    accounts = {Account(scope=Scope(one["scope"]), name=one["name"], day=one["day"]) for one in held}
    accounts.add(Account(scope=Scope.AGENT, name=row["agent"], day=day))
    accounts.add(Account(scope=Scope.GLOBAL, name="", day=day))
    channel = (row["reply_to"] or addresses.get(row["root_run_id"]) or {}).get("channel")
    if channel:
        accounts.add(Account(scope=Scope.CHANNEL, name=channel, day=day))
    if row["actor"]["kind"] in PAYERS:
        accounts.add(Account(scope=Scope.USER, name=row["actor"]["id"], day=day))
    return accounts


def _day(held: Sequence[Row], now: datetime) -> str:
    return max((one["day"] for one in held), default="") or day_of(now)
