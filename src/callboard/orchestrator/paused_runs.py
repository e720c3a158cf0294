"""Wakes the runs whose pause is over: those that waited for a provider, for others' reservations, or for money that
somebody has granted meanwhile."""

from __future__ import annotations

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.state.budget_store import BudgetStore
from callboard.state.store import Store

EVERY_SECONDS = 0.5


class PausedRuns:
    """Any number of them may look at one database: a run is woken once."""

    def __init__(
        self, store: Store, budgets: BudgetStore, clock: Clock, *, every_seconds: float = EVERY_SECONDS
    ) -> None:
        self._store = store
        self._budgets = budgets
        self._clock = clock
        self._every = every_seconds
        self._log = StructuredLogger("state-manager")

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.wake()
            await self._clock.sleep(self._every)

    async def wake(self) -> int:
        """One look; how many go on."""
        try:
            count = await self._store.resume_paused() + await self._budgets.go_on()
        except UnavailableError as error:
            self._log.warning("paused runs cannot be looked for", reason=error.message)
            return 0
        if count:
            self._log.info("runs go on after a pause", runs=count)
        return count
