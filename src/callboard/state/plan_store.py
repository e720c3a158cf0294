"""The plans of runs, for those who show them or begin new ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from callboard.clock import Clock
from callboard.state.database import Database
from callboard.state.plans import Plan, PlanDraft, PlanRevision, PlanRunState
from callboard.state.sql import plans


class PlanStore:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def plan(self, run_id: str) -> Plan | None:
        """As it was changed last, None where the run has none."""
        return await self._database.read(partial(plans.load_plan, run_id=run_id))

    async def state(self, run_id: str) -> PlanRunState:
        """How far the plan has come."""
        return await self._database.read(partial(plans.load_plan_state, run_id=run_id))

    async def revisions(self, run_id: str) -> Sequence[PlanRevision]:
        """The changes of the plan, oldest first."""
        return await self._database.read(partial(plans.load_revisions, run_id=run_id))

    async def begin_with(self, plan: Plan, state: PlanRunState) -> None:
        """Gives a run that is not there yet its plan and how far that has come; said again, nothing changes."""
        draft = PlanDraft(run_id=state.run_id, plan=plan)
        unit = partial(plans.begin_with, draft=draft, state=state, now=self._clock.now())
        await self._database.write(unit, repeatable=True)
