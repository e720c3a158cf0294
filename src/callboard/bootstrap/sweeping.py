"""Who looks for processes that are gone, and for records that are past their time."""

from __future__ import annotations

from callboard.bootstrap.core import Core
from callboard.orchestrator.paused_runs import PausedRuns
from callboard.orchestrator.sweeper import Sweeper
from callboard.state.retention import Retention


def make_sweeper(core: Core) -> Sweeper:
    return Sweeper(
        core.store,
        core.processes,
        core.clock,
        beat_seconds=core.settings.lease_beat_seconds,
        dead_seconds=core.settings.lease_dead_seconds,
        observe_losses=core.metrics.lease_lost,
    )


def make_paused_runs(core: Core) -> PausedRuns:
    return PausedRuns(core.store, core.budgets, core.clock)


def make_retention(core: Core) -> Retention:
    return Retention(core.database, core.clock, days=core.settings.retention_days)
