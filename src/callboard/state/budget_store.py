"""Budgets as verbs: what a process that works on runs asks of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from callboard.clock import Clock
from callboard.state.budgets import Limit, Reservation
from callboard.state.database import Database
from callboard.state.effects import Claim
from callboard.state.finishing import Consequences
from callboard.state.sql import raising, reserving


class Announcer(Protocol):
    """Tells the world what a committed transaction brought about; never raises, may lose."""

    def offer(self, consequences: Consequences) -> None: ...


class Silent:
    """For whoever only reserves: that tells nobody anything."""

    def offer(self, consequences: Consequences) -> None: ...


class BudgetStore:
    """What was reserved is settled by the run's checkpoints and its settlement, or by the loss of its process."""

    def __init__(self, database: Database, clock: Clock, announcer: Announcer | None = None) -> None:
        self._database = database
        self._clock = clock
        self._announcer = announcer or Silent()

    async def reserve(self, claim: Claim, call: int, worst_usd: float, limits: Sequence[Limit]) -> Reservation:
        """Before the model call number `call` of this claim, which costs at most `worst_usd`.

        Repeated for the same call it is the same reservation. FencedError, UnavailableError.
        """
        unit = partial(
            reserving.reserve, claim=claim, call=call, worst_usd=worst_usd, limits=limits, now=self._clock.now()
        )
        return await self._database.write(unit, repeatable=True)

    async def go_on(self) -> None:
        """Wakes the runs that wait for money which somebody has granted meanwhile, or whose day is over."""
        self._announcer.offer(await self._database.write(partial(raising.go_on, now=self._clock.now())))
