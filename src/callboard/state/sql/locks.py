"""Units of work: named leases, of which one holder at a time has each (DESIGN.md, R22)."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from callboard.errors import FencedError
from callboard.state.models import locks
from callboard.state.sql.server_time import server_time


def acquire(connection: Connection, name: str, holder: str, seconds: float) -> bool:
    """Takes or renews a lease; False while another holder's runs on. Its end is a time on the database's clock."""
    now = server_time(connection)
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    taken = dialect.insert(locks).values(name=name, holder=holder, until=now + timedelta(seconds=seconds))
    free = or_(locks.c.holder == holder, locks.c.holder.is_(None), locks.c.until.is_(None), locks.c.until <= now)
    row = connection.execute(
        taken.on_conflict_do_update(
            index_elements=[locks.c.name],
            set_={"holder": taken.excluded.holder, "until": taken.excluded.until},
            where=free,
        ).returning(locks.c.holder)
    ).first()
    return row is not None


def require(connection: Connection, name: str, holder: str) -> None:
    """Raises FencedError unless the lease is the holder's; then it stays so until this transaction ends.

    An end that has passed is no matter as long as nobody else has come.
    """
    now_holder = connection.execute(select(locks.c.holder).where(locks.c.name == name).with_for_update()).scalar()
    if now_holder != holder:
        raise FencedError(f"the lease '{name}' belongs to {now_holder or 'nobody'}, not to {holder}")


def release(connection: Connection, name: str, holder: str) -> None:
    """Nothing happens where it belongs to another by now."""
    connection.execute(delete(locks).where(locks.c.name == name, locks.c.holder == holder))
