"""Budgets as verbs: what a process that works on runs asks of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from callboard.clock import Clock
from callboard.state.announcer import Announcer, Silent
from callboard.state.budgets import PAYERS, CostLine, Limit, Origin, Reservation, Scope, Standing
from callboard.state.database import Database
from callboard.state.effects import Claim
from callboard.state.runs import Run
from callboard.state.sql import costs, raising, reserving


class BudgetStore:
    """What was reserved is settled by the run's checkpoints and its settlement, or by the loss of its process."""

    def __init__(self, database: Database, clock: Clock, announcer: Announcer | None = None) -> None:
        """Without an `announcer`, for whoever only reserves: that has nothing to tell."""
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

    async def origin(self, run: Run) -> Origin:
        """Where the run comes from, or the plan that it is a step of."""
        found = await self._database.read(partial(reserving.load_origin, root_run_id=run.root))
        return found or origin_of(run)

    async def costs(self, tenant: str, scope: Scope, first: str, last: str) -> Sequence[CostLine]:
        """What was used from the day `first` to the day `last`, both included; the dearest first.

        For the whole installation it is one line a day, the newest first.
        """
        unit = partial(costs.sums, tenant=tenant, scope=scope, first=first, last=last)
        return await self._database.read(unit)

    async def standings(self, tenant: str, limits: Sequence[Limit]) -> Sequence[Standing]:
        """How much of each limit is used now; nobody's reservations are one's own."""
        return await self._database.read(partial(costs.standings, tenant=tenant, limits=limits))

    async def go_on(self) -> int:
        """Wakes the runs that wait for money which somebody has granted meanwhile, or whose day is over; how many.

        Cheap where nobody waits: it may be asked often.
        """
        if not await self._database.read(raising.open_questions):
            return 0
        count, told = await self._database.write(partial(raising.go_on, now=self._clock.now()))
        self._announcer.offer(told)
        return count


def origin_of(run: Run) -> Origin:
    """As far as the run itself says it."""
    return Origin(
        agent=run.agent,
        channel=None if run.reply_to is None else run.reply_to.channel,
        user=run.actor.id if run.actor.kind in PAYERS else None,
    )
