"""The port to a relational database: how a unit of work is run, never what it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")
Item = TypeVar("Item")
_Unit = TypeVar("_Unit", bound=Callable[..., object])


def one_statement(unit: _Unit) -> _Unit:
    """Marks a unit that makes one statement only, whatever it is called with: that is a transaction by itself."""
    unit.__dict__["one_statement"] = True
    return unit


def is_one_statement(unit: Callable[..., object]) -> bool:
    while isinstance(unit, partial):
        unit = unit.func
    return getattr(unit, "one_statement", False) is True


class Database(Protocol):
    """Runs units of work: synchronous functions over a SQLAlchemy connection, in a thread or greenlet of its own.

    A unit must touch nothing but the connection and its arguments, may be run again from the start when its
    transaction was lost, and must not commit. What it raises leaves no trace in the database and reaches the caller.
    """

    async def write(self, unit: Callable[[Connection], T], *, repeatable: bool = False) -> T:
        """All of the unit or nothing; durable when this returns. Neighbouring units may share the commit.

        A commit whose outcome is unknown is settled before this returns, where the database can be asked; a unit that
        does no harm when it is committed twice says so and need not be asked about. UnavailableError from a commit
        that nobody could ask about may come too late: a caller that repeats itself repeats with the same keys.
        """
        ...

    async def read(self, unit: Callable[[Connection], T]) -> T:
        """Sees every write that returned before the call; sees no half of any write."""
        ...

    async def batch(self, unit: Callable[[Connection, Sequence[Item]], Sequence[T]], item: Item) -> T:
        """Coalesced write: items that wait together go through one call of the unit, in order, one result each.

        When the call raises and held several items, each is tried alone, so that one bad item fails only itself. A
        batch unit knows its own items: committed twice, the second time changes nothing (DESIGN.md, R7).
        """
        ...

    async def ping(self) -> None:
        """Raises what a read would raise."""
        ...

    async def close(self) -> None:
        """Finishes what was accepted, then lets go of every connection."""
        ...
