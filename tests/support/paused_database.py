"""A process that stops in the middle: its transactions stay open until they are let go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from callboard.state.sql.postgres_engine import Timeouts, make_engine

T = TypeVar("T")
Item = TypeVar("Item")


class PausedDatabase:
    """The `Database` port over PostgreSQL: each unit does all of its work, then waits for `go` before its commit."""

    def __init__(self, url: str) -> None:
        self._engine = make_engine(url, Timeouts(), isolation_level="AUTOCOMMIT")
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def write(self, unit: Callable[[Connection], T], *, repeatable: bool = False) -> T:
        async with self._engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            await driver.execute("BEGIN")
            value = await connection.run_sync(unit)
            self.reached.set()
            await self.go.wait()
            await driver.execute("COMMIT")
        return value

    async def read(self, unit: Callable[[Connection], T]) -> T:
        async with self._engine.connect() as connection:
            return await connection.run_sync(unit)

    async def batch(self, unit: Callable[[Connection, Sequence[Item]], Sequence[T]], item: Item) -> T:
        return (await self.write(lambda connection: unit(connection, [item])))[0]

    async def ping(self) -> None:
        await self.read(lambda connection: None)

    async def close(self) -> None:
        await self._engine.dispose()
