"""The money of one claimed run: what its model calls may cost, asked of everybody who pays for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from callboard.agents import engine
from callboard.agents.spending_limits import limits_of, needs_origin
from callboard.clock import Clock
from callboard.config.catalog import LoadCatalog
from callboard.config.definition import Limits
from callboard.config.models_file import ModelsFile
from callboard.state.budget_store import BudgetStore, origin_of
from callboard.state.budgets import Busy, Limit, Origin, OverBudget
from callboard.state.effects import Claim
from callboard.state.runs import Run


class RunBudgets:
    """Makes the budget of each run that a pool works on."""

    def __init__(
        self, store: BudgetStore, models: Callable[[], ModelsFile], catalog: LoadCatalog, clock: Clock
    ) -> None:
        """`models` gives what `config/models.yaml` says now."""
        self._store = store
        self._models = models
        self._catalog = catalog
        self._clock = clock

    def of(self, run: Run) -> RunBudget:
        return RunBudget(run, self._store, self._models, self._catalog, self._clock)


class RunBudget:
    """Without any limit that applies, nothing is asked of the database."""

    def __init__(
        self,
        run: Run,
        store: BudgetStore,
        models: Callable[[], ModelsFile],
        catalog: LoadCatalog,
        clock: Clock,
    ) -> None:
        self._run = run
        self._store = store
        self._models = models
        self._catalog = catalog
        self._clock = clock
        self._origin: Origin | None = None

    async def reserve(self, call: int, worst_usd: float | None) -> engine.Reservation:
        """As `Journal.reserve` says. FencedError, UnavailableError."""
        limits = await self._limits()
        if worst_usd is None:
            refused = bool(limits) or self._models().refuses_unknown_prices
            return engine.Unpriced(budget=bool(limits)) if refused else engine.Reserved(usd=0.0)
        if not limits or worst_usd <= 0:
            return engine.Reserved(usd=worst_usd)
        claim = Claim(run_id=self._run.run_id, fencing=self._run.fencing)
        match await self._store.reserve(claim, call, worst_usd, limits):
            case OverBudget() as over:
                return engine.OverBudget(
                    scope=cast("engine.BudgetScope", over.account.scope.value),
                    name=over.account.name,
                    day=over.account.day,
                    limit_usd=over.limit_usd,
                    spent_usd=over.spent_usd,
                    needed_usd=over.needed_usd,
                    raised=over.raises,
                )
            case Busy(seconds=seconds):
                return engine.Busy(seconds=seconds)
            case _:
                return engine.Reserved(usd=worst_usd)

    async def _limits(self) -> list[Limit]:
        run, budgets = self._run, self._models().budgets
        if self._origin is None:
            self._origin = await self._store.origin(run) if needs_origin(run, budgets) else origin_of(run)
        catalog = await self._catalog(run.catalog)
        own = catalog.get(run.agent)
        root = catalog.get(self._origin.agent) if run.root != run.run_id else None
        return limits_of(
            run,
            own.definition.limits if own is not None else Limits(),
            self._origin,
            root.definition.limits if root is not None else None,
            budgets,
            self._clock.now(),
        )
