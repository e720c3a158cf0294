"""Turns and places: which runs may be claimed at all (DESIGN.md, R6 and R10 to R12).

A run with an `order_key` waits for its turn: of one key, one run is under way at a time, in the order of `key_seq`.
A run with a `place_key` waits for one of `places` places, which it holds while it is ready or running, not while it
waits on somebody. `ready` is both. Every function here runs inside the transaction that changes the runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, or_, select, text, update

from callboard.messaging.topology import run_requested
from callboard.state.models import ACTIVE as MODEL_ACTIVE
from callboard.state.models import order_keys, runs
from callboard.state.runs import RunStatus
from callboard.state.sql.direct import Row, change, fetch

Key = tuple[str, str]
ACTIVE = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING)
# A key's numbers go beyond the number of every run there is. So they only grow, also for a key that retention has
# deleted meanwhile, and the last of them tells how long ago the key was used. A run never has a higher `key_seq` than
# `seq`: it gets that one later.
BEYOND_ALL = "(SELECT coalesce(max(seq), 0) + 1 FROM runs)"
TAKE_NUMBERS = text(
    f"INSERT INTO order_keys (tenant, key, next_seq) VALUES (:tenant, :key, {BEYOND_ALL} + :count) "  # noqa: S608
    f"ON CONFLICT (tenant, key) DO UPDATE SET next_seq = max(order_keys.next_seq, {BEYOND_ALL}) + :count "
    "RETURNING next_seq"
)
# Every key is there by then: whoever takes numbers has locked it.
TAKE_NUMBERS_AT_ONCE = text(
    f"UPDATE order_keys SET next_seq = greatest(order_keys.next_seq, {BEYOND_ALL}) + given.count "  # noqa: S608
    "FROM unnest(CAST(:tenants AS varchar[]), CAST(:keys AS varchar[]), CAST(:counts AS bigint[])) "
    "AS given (tenant, key, count) WHERE order_keys.tenant = given.tenant AND order_keys.key = given.key "
    "RETURNING order_keys.tenant, order_keys.key, next_seq"
)
# The literal statuses are those of the partial indexes, which the planner then can use.
UNDER_WAY = text(MODEL_ACTIVE)
TURN_HOLDERS = (
    select(runs.c.tenant, runs.c.order_key)
    .where(
        runs.c.tenant.in_(bindparam("tenants", expanding=True)),
        runs.c.order_key.in_(bindparam("keys", expanding=True)),
        text("has_turn"),
        UNDER_WAY,
    )
    .distinct()
)
_BEFORE = runs.alias("before")
NEXT_OF_KEYS = select(runs).where(
    runs.c.tenant.in_(bindparam("tenants", expanding=True)),
    runs.c.order_key.in_(bindparam("keys", expanding=True)),
    text(f"runs.{MODEL_ACTIVE}"),
    runs.c.key_seq
    == select(func.min(_BEFORE.c.key_seq))
    .where(
        _BEFORE.c.tenant == runs.c.tenant,
        _BEFORE.c.order_key == runs.c.order_key,
        text(f"before.{MODEL_ACTIVE}"),
    )
    .scalar_subquery(),
)
# More rows than keys may be locked where two tenants share a key's name: that costs a wait, never an error.
LOCK_KEYS = (
    select(order_keys.c.tenant, order_keys.c.key)
    .where(
        order_keys.c.tenant.in_(bindparam("tenants", expanding=True)),
        order_keys.c.key.in_(bindparam("keys", expanding=True)),
    )
    .order_by(order_keys.c.tenant, order_keys.c.key)
    .with_for_update()
)
_STEP = runs.alias("step")
FAMILY_KEYS = (
    select(runs.c.tenant, runs.c.order_key, runs.c.place_key)
    .where(
        or_(
            runs.c.run_id.in_(bindparam("ids", expanding=True)),
            runs.c.parent_run_id.in_(bindparam("ids", expanding=True)),
            runs.c.run_id.in_(
                select(_STEP.c.parent_run_id).where(_STEP.c.run_id.in_(bindparam("ids", expanding=True)))
            ),
        )
    )
    .where(or_(runs.c.order_key.is_not(None), runs.c.place_key.is_not(None)))
    .distinct()
)
# What was added meanwhile is locked too, or added again where retention has deleted it: the condition only spares the
# writing of a row that stays as it is.
LOCK_OR_ADD = text(
    "INSERT INTO order_keys (tenant, key, next_seq) "
    "SELECT tenant, key, 0 FROM unnest(CAST(:tenants AS varchar[]), CAST(:keys AS varchar[])) AS given (tenant, key) "
    "ORDER BY tenant, key ON CONFLICT (tenant, key) DO UPDATE SET next_seq = order_keys.next_seq WHERE false"
)
GIVE_TURN = update(runs).where(runs.c.seq == bindparam("b_seq")).values(has_turn=True, ready=bindparam("b_ready"))


def lock_keys(connection: Connection, keys: Iterable[Key]) -> None:
    """From here to the end of the transaction nobody else decides about the keys (DESIGN.md, R8).

    Keys come before the rows of runs, and all of a transaction's at once, in their own order: so no two transactions
    wait for each other. SQLite, with its single writer, needs nothing here.
    """
    wanted = sorted(set(keys))
    if not wanted or connection.dialect.name == "sqlite":
        return
    known = _locked(connection, wanted)
    fresh = [key for key in wanted if key not in known]
    if fresh:
        arrays = {"tenants": [tenant for tenant, _ in fresh], "keys": [name for _, name in fresh]}
        connection.execute(LOCK_OR_ADD, arrays)


def lock_keys_of(connection: Connection, run_ids: Iterable[str], more: Iterable[Key] = ()) -> None:
    """The keys of the runs, and of their steps and plans, which a change of one of them may change too."""
    if connection.dialect.name == "sqlite":
        return
    found = fetch(connection, FAMILY_KEYS, {"ids": list(run_ids)})
    keys = {(row["tenant"], row[name]) for row in found for name in ("order_key", "place_key")}
    lock_keys(connection, [key for key in keys if key[1] is not None] + list(more))


def keys_of(rows: Iterable[Mapping[str, Any]]) -> list[Key]:
    """The keys that rows of runs take turns and places by."""
    return [(row["tenant"], row[name]) for row in rows for name in ("order_key", "place_key") if row[name] is not None]


def _locked(connection: Connection, keys: Sequence[Key]) -> set[Key]:
    tenants, names = {tenant for tenant, _ in keys}, [name for _, name in keys]
    found = fetch(connection, LOCK_KEYS, {"tenants": list(tenants), "keys": names})
    return {(row["tenant"], row["key"]) for row in found}


def enter(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Gives rows that are about to be inserted their number in line, their turn and their place."""
    lock_keys(connection, keys_of(rows))
    _take_turns(connection, [row for row in rows if row["order_key"] is not None])
    _take_places(connection, [row for row in rows if row["place_key"] is not None])
    for row in rows:
        row["ready"] = row["has_turn"] and row["has_place"]


def busy_keys(connection: Connection, keys: Iterable[Key]) -> set[Key]:
    """The keys of which a run is under way."""
    wanted = set(keys)
    if not wanted:
        return set()
    tenants, names = {tenant for tenant, _ in wanted}, {name for _, name in wanted}
    rows = fetch(connection, TURN_HOLDERS, {"tenants": list(tenants), "keys": list(names)})
    return {(row["tenant"], row["order_key"]) for row in rows} & wanted


def leave(connection: Connection, ended: Sequence[Row]) -> set[str]:
    """Hands on the turns and places of runs that are terminal now; returns the topics to wake."""
    keys = {(row["tenant"], row["order_key"]) for row in ended if row["order_key"] is not None}
    places = {(row["tenant"], row["place_key"]) for row in ended if row["place_key"] is not None}
    wakes = _next_turns(connection, keys)
    return wakes | {topic for key in sorted(places) for topic in fill_places(connection, key)}


def fill_places(connection: Connection, key: Key, limit: int | None = None) -> set[str]:
    """Gives free places to the queued runs that have their turn, oldest and most urgent first.

    `limit` is how many places there are where a run that is not written yet asks for another number.
    """
    tenant, place_key = key
    lock_keys(connection, [key])
    places, used = _places(connection, key)
    places = limit or places
    if places is None or places <= used:
        return set()
    chosen = connection.execute(
        select(runs.c.run_id, runs.c.mode, runs.c.lane)
        .where(
            runs.c.tenant == tenant,
            runs.c.place_key == place_key,
            runs.c.status == RunStatus.QUEUED,
            runs.c.has_turn,
            runs.c.has_place.is_(False),
        )
        .order_by(runs.c.rank, runs.c.seq)
        .limit(places - used)
    ).all()
    if chosen:
        ids = [row.run_id for row in chosen]
        connection.execute(update(runs).where(runs.c.run_id.in_(ids)).values(has_place=True, ready=True))
    return {run_requested(row.mode, row.lane) for row in chosen}


def _take_turns(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    by_key: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_key[row["tenant"], row["order_key"]].append(row)
    ends = _take_numbers(connection, {key: len(by_key[key]) for key in sorted(by_key)})
    for key, members in by_key.items():
        end = ends[key]
        for offset, row in enumerate(members):
            row["key_seq"] = end - len(members) + offset
    busy = busy_keys(connection, by_key)
    for key, members in by_key.items():
        for index, row in enumerate(members):
            row["has_turn"] = index == 0 and key not in busy


def _take_numbers(connection: Connection, counts: Mapping[Key, int]) -> dict[Key, int]:
    """The number after the last one that each key gives out."""
    if not counts:
        return {}
    if connection.dialect.name == "sqlite":
        given = [{"tenant": tenant, "key": key, "count": count} for (tenant, key), count in counts.items()]
        numbers = [connection.execute(TAKE_NUMBERS, row).scalar_one() for row in given]
        return dict(zip(counts, numbers, strict=True))
    arrays = {"tenants": [key[0] for key in counts], "keys": [key[1] for key in counts], "counts": [*counts.values()]}
    return {(row.tenant, row.key): row.next_seq for row in connection.execute(TAKE_NUMBERS_AT_ONCE, arrays)}


def _take_places(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    by_key: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_key[row["tenant"], row["place_key"]].append(row)
    for key in sorted(by_key):
        stored, used = _places(connection, key)
        limit = by_key[key][-1]["places"]
        if stored is not None and stored < limit:
            # The limit was raised: those who have waited come before those who are new.
            fill_places(connection, key, limit)
            _, used = _places(connection, key)
        for row in by_key[key]:
            row["has_place"] = row["has_turn"] and used < row["places"]
            used += row["has_place"]


def _next_turns(connection: Connection, keys: set[Key]) -> set[str]:
    if not keys:
        return set()
    lock_keys(connection, keys)
    free = keys - busy_keys(connection, keys)
    if not free:
        return set()
    tenants, names = {tenant for tenant, _ in free}, [name for _, name in free]
    found = fetch(connection, NEXT_OF_KEYS, {"tenants": list(tenants), "keys": names})
    heads = [row for row in found if (row["tenant"], row["order_key"]) in free]
    turns = [{"b_seq": row["seq"], "b_ready": row["place_key"] is None} for row in heads]
    change(connection, GIVE_TURN, turns)
    wakes = {run_requested(row["mode"], row["lane"]) for row in heads if row["place_key"] is None}
    places = {(row["tenant"], row["place_key"]) for row in heads if row["place_key"] is not None}
    return wakes | {topic for key in sorted(places) for topic in fill_places(connection, key)}


def _places(connection: Connection, key: Key) -> tuple[int | None, int]:
    """How many places the newest run of the key asks for, and how many are taken."""
    tenant, place_key = key
    of_key = (runs.c.tenant == tenant, runs.c.place_key == place_key)
    places = connection.execute(
        select(runs.c.places).where(*of_key, runs.c.status.in_(ACTIVE)).order_by(runs.c.seq.desc()).limit(1)
    ).scalar()
    used = connection.execute(
        select(func.count()).where(*of_key, runs.c.has_place, runs.c.status.in_((RunStatus.QUEUED, RunStatus.RUNNING)))
    ).scalar_one()
    return places, used


def requeue(connection: Connection, rows: Sequence[Mapping[Any, Any]]) -> set[str]:
    """Makes runs that are `queued` again claimable: they kept their turn, and line up for a place."""
    free = [row for row in rows if row["place_key"] is None]
    if free:
        connection.execute(
            update(runs).where(runs.c.run_id == bindparam("b_run_id")).values(ready=runs.c.has_turn),
            [{"b_run_id": row["run_id"]} for row in free],
        )
    wakes = {run_requested(row["mode"], row["lane"]) for row in free}
    placed = [row for row in rows if row["place_key"] is not None]
    if placed:
        ids = [row["run_id"] for row in placed]
        connection.execute(update(runs).where(runs.c.run_id.in_(ids)).values(has_place=False, ready=False))
    for key in sorted({(row["tenant"], row["place_key"]) for row in placed}):
        wakes |= fill_places(connection, key)
    return wakes
