"""How an attempt ends: what follows from its outcome, and the way of that to the store."""

from __future__ import annotations

from callboard.agents.engine import Failed, Outcome
from callboard.agents.performer import pool_name
from callboard.agents.settling import may_retry, not_storable, settlement_of
from callboard.clock import Clock
from callboard.errors import FencedError, UnavailableError
from callboard.ids import Ids, fraction
from callboard.logs import StructuredLogger
from callboard.metrics import Metrics
from callboard.retry import Backoff
from callboard.state.finishing import Settlement
from callboard.state.journal_store import JournalStore
from callboard.state.runs import Lane, Run, RunStatus
from callboard.state.store import Store

STORE_PAUSE_SECONDS = 1.0
"""Between two looks whether a store that was away is back."""


class Settler:
    """Settles the runs of one pool. The rules are in `settling`; here is what asks and tells the store."""

    def __init__(
        self, mode: str, *, store: Store, journals: JournalStore, clock: Clock, ids: Ids, metrics: Metrics
    ) -> None:
        self._store = store
        self._journals = journals
        self._clock = clock
        self._ids = ids
        self._metrics = metrics
        self._backoff = Backoff(first_seconds=1.0, cap_seconds=60.0)
        self._log = StructuredLogger(pool_name(mode))

    async def after(self, run: Run, outcome: Outcome) -> Settlement:
        """A failure may be tried again, afresh only where nothing has happened in the world (DESIGN.md, rule 6)."""
        pause = 0.0
        fresh = False
        if isinstance(outcome, Failed) and may_retry(run, outcome):
            pause = self._backoff.seconds(
                run.failures + 1, random=lambda: fraction(self._ids.new()), retry_after_seconds=outcome.retry_after
            )
            fresh = await self._may_start_afresh(run)
        return settlement_of(run, outcome, self._clock.now(), pause_seconds=pause, fresh_context=fresh)

    async def settle(self, run: Run, settlement: Settlement) -> None:
        """Until the store takes it or another owner has the run; a store that is away is waited for."""
        given_up = False
        while True:
            try:
                status = await self._store.settle(settlement)
            except UnavailableError as error:
                self._log.warning("cannot store the end of a run yet", reason=error.message)
                await self._clock.sleep(STORE_PAUSE_SECONDS)
            except FencedError as error:
                self._log.warning("the run has gone to another owner", reason=error.message)
                return
            except Exception as error:  # whatever refuses it: a run must end
                if given_up:
                    raise
                # What the run came to cannot be stored: that is what is stored.
                self._log.error("the end of a run cannot be stored as it is", exc_info=True)
                given_up = True
                settlement = await self.after(run, not_storable(error))
            else:
                self._settled(run, settlement, status)
                return

    async def _may_start_afresh(self, run: Run) -> bool:
        try:
            return not await self._journals.has_lasting_effect(run.run_id, run.context_no)
        except UnavailableError:
            return False  # from the checkpoint is right in any case

    def _settled(self, run: Run, settlement: Settlement, status: RunStatus) -> None:
        """Counts it and says so; `status` is what the store made of the run."""
        now = self._clock.now()
        started = run.started_at or run.created_at
        milliseconds = round((now - started).total_seconds() * 1000, 1)
        error = None if settlement.error is None else settlement.error.code
        self._metrics.spent(agent=run.agent, usd=settlement.cost_usd)
        if status.terminal:
            seconds = (now - run.created_at).total_seconds()
            self._metrics.run_ended(agent=run.agent, mode=run.mode, status=status.value, seconds=seconds)
        if error is not None:
            self._metrics.run_error(agent=run.agent, code=error)
        self._log.info(
            f"run {status.value}",
            status=status.value,
            duration_ms=milliseconds,
            error=error,
            lane=Lane(run.lane).value,
        )
