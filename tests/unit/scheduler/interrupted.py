"""A database that the test takes away and gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from callboard.errors import UnavailableError
from callboard.state.database import Database

T = TypeVar("T")
Item = TypeVar("Item")


class Interrupted:
    """The database port with a line that can be cut."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.away = False

    def _check(self) -> None:
        if self.away:
            raise UnavailableError("the database cannot be reached")

    async def write(self, unit: Callable[[Connection], T], *, repeatable: bool = False) -> T:
        self._check()
        return await self._database.write(unit, repeatable=repeatable)

    async def read(self, unit: Callable[[Connection], T]) -> T:
        self._check()
        return await self._database.read(unit)

    async def batch(self, unit: Callable[[Connection, Sequence[Item]], Sequence[T]], item: Item) -> T:
        self._check()
        return await self._database.batch(unit, item)

    async def ping(self) -> None:
        self._check()

    async def close(self) -> None:
        await self._database.close()
