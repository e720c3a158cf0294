"""Units of work: what the database knows of each schedule, from its first sight in the catalog on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from callboard.state.models import schedules
from callboard.state.occurrences import OccurrenceDraft, ScheduleRegistration, ScheduleState


def register(
    connection: Connection, registrations: Sequence[ScheduleRegistration], now: datetime, tenant: str
) -> list[ScheduleState]:
    """Makes each schedule known; a new, changed or returning one starts at `now`, so nothing is back-filled.

    One that has fired nothing yet and was first seen in the future (the clock was set back since) starts at `now` too.
    Of several processes that see a new schedule at once the first makes it known, the others meet it.
    """
    by_id = {item.schedule_id: item for item in registrations}
    rows = _rows(connection, by_id, tenant)
    missing = sorted(by_id.keys() - rows.keys())
    if missing:
        _insert_missing(connection, [_row(by_id[schedule_id], now, tenant) for schedule_id in missing])
        rows.update(_rows(connection, missing, tenant))
    if any(_starts(item, rows[item.schedule_id], now) for item in registrations):
        # Held from here on, so that nobody starts it twice and no occurrence is entered in between.
        rows = _rows(connection, by_id, tenant, lock=True)
    afresh = [item for item in by_id.values() if _starts(item, rows[item.schedule_id], now)]
    if afresh:
        connection.execute(
            _of_key(tenant).values(
                time_keys=bindparam("n_keys"),
                agent=bindparam("n_agent"),
                since=now,
                last_nominal=None,
                removed_at=None,
                updated_at=now,
            ),
            [{"b_id": item.schedule_id, "n_keys": item.time_keys, "n_agent": item.agent} for item in afresh],
        )
    started = {item.schedule_id for item in afresh}
    return [
        ScheduleState(
            schedule_id=item.schedule_id,
            agent=item.agent,
            time_keys=item.time_keys,
            position=now if item.schedule_id in started else _position(rows[item.schedule_id]),
            paused=rows[item.schedule_id]["paused"],
        )
        for item in registrations
    ]


def retire(connection: Connection, present: Collection[str], now: datetime, tenant: str) -> list[str]:
    """Marks every schedule that the catalog no longer holds; returns their ids. Their history stays."""
    known = connection.execute(
        select(schedules.c.id)
        .where(schedules.c.tenant == tenant, schedules.c.removed_at.is_(None))
        .order_by(schedules.c.id)
        .with_for_update()
    ).scalars()
    kept = set(present)
    gone = [schedule_id for schedule_id in known if schedule_id not in kept]
    if gone:
        connection.execute(
            _of_key(tenant).values(removed_at=now, updated_at=now), [{"b_id": schedule_id} for schedule_id in gone]
        )
    return gone


def set_paused(
    connection: Connection, schedule_ids: Collection[str], *, paused: bool, now: datetime, tenant: str
) -> None:
    _rows(connection, schedule_ids, tenant, lock=True)
    connection.execute(
        update(schedules)
        .where(schedules.c.tenant == tenant, schedules.c.id.in_(schedule_ids))
        .values(paused=paused, updated_at=now)
    )


def states(connection: Connection, tenant: str) -> list[ScheduleState]:
    """Every schedule that is not removed."""
    rows = connection.execute(_of_tenant(tenant).where(schedules.c.removed_at.is_(None)).order_by(schedules.c.id))
    return [_state(row) for row in rows.mappings()]


def lock_states(connection: Connection, schedule_ids: Collection[str], tenant: str) -> dict[str, ScheduleState]:
    """The schedules that are not removed, held until the commit, so that two tickers decide one after the other."""
    query = _of_tenant(tenant).where(schedules.c.id.in_(schedule_ids), schedules.c.removed_at.is_(None))
    rows = connection.execute(query.order_by(schedules.c.id).with_for_update())
    return {row["id"]: _state(row) for row in rows.mappings()}


def advance(connection: Connection, decided: Sequence[OccurrenceDraft], now: datetime, tenant: str) -> None:
    """Moves each schedule to the newest time that was decided; all of them lie after its position."""
    newest: dict[str, datetime] = {}
    for draft in decided:
        newest[draft.schedule_id] = max(draft.nominal_time, newest.get(draft.schedule_id, draft.nominal_time))
    if newest:
        connection.execute(
            _of_key(tenant).values(last_nominal=bindparam("n_last"), updated_at=now),
            [{"b_id": schedule_id, "n_last": nominal} for schedule_id, nominal in newest.items()],
        )


def _rows(
    connection: Connection, schedule_ids: Collection[str], tenant: str, *, lock: bool = False
) -> dict[str, RowMapping]:
    """By id; locked in the order of the ids, which is every unit's order, so that none waits in a circle."""
    query = _of_tenant(tenant).where(schedules.c.id.in_(schedule_ids)).order_by(schedules.c.id)
    rows = connection.execute(query.with_for_update() if lock else query).mappings()
    return {row["id"]: row for row in rows}


def _insert_missing(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """In the order of the ids; passes over what another process has made known meanwhile."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(schedules).on_conflict_do_nothing(), rows)


def _starts(item: ScheduleRegistration, row: Any, now: datetime) -> bool:
    return (
        row["time_keys"] != item.time_keys
        or row["removed_at"] is not None
        or (row["last_nominal"] is None and row["since"] > now)
    )


def _position(row: Any) -> datetime:
    position: datetime = row["last_nominal"] or row["since"]
    return position


def _state(row: Any) -> ScheduleState:
    return ScheduleState(
        schedule_id=row["id"],
        agent=row["agent"],
        time_keys=row["time_keys"],
        position=_position(row),
        paused=row["paused"],
    )


def _of_tenant(tenant: str) -> Any:
    return select(schedules).where(schedules.c.tenant == tenant)


def _of_key(tenant: str) -> Any:
    return update(schedules).where(schedules.c.tenant == tenant, schedules.c.id == bindparam("b_id"))


def _row(item: ScheduleRegistration, now: datetime, tenant: str) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "id": item.schedule_id,
        "agent": item.agent,
        "time_keys": item.time_keys,
        "paused": False,
        "since": now,
        "last_nominal": None,
        "removed_at": None,
        "updated_at": now,
    }
