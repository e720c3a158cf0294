"""Unit of work: what time it is for the database."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, func, select

from callboard.clock import SystemClock


def server_time(connection: Connection) -> datetime:
    """The wall clock of the database's machine; SQLite's is this one."""
    if connection.dialect.name == "sqlite":
        return SystemClock().now()
    shown: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return shown.astimezone(UTC)
