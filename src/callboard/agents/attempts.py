"""What every attempt goes through: it is performed, comes to an outcome, and that to a settlement for the store."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from callboard.agents.assigning import Assigner
from callboard.agents.attempt import Attempt, Interruption
from callboard.agents.engine import Failed, Handed, Usage
from callboard.agents.execution_agent import Assignment
from callboard.agents.handed_run import handed_run
from callboard.agents.performer import Performance, Performer, pool_name
from callboard.agents.refusals import Refusals
from callboard.agents.roster import Roster
from callboard.agents.settler import Settler
from callboard.agents.settling import (
    UNKNOWN_USAGE,
    acceptable,
    cancelled,
    failure_of,
    handed_back,
    settlement_of,
    timed_out,
    turned_away,
)
from callboard.agents.variants import Variants
from callboard.clock import Clock
from callboard.config.catalog import Catalog, LoadCatalog
from callboard.errors import CallboardError, FencedError, NotFoundError
from callboard.logs import StructuredLogger, bind_trace
from callboard.state.agent_health import Refusal
from callboard.state.finishing import Settlement
from callboard.state.runs import Run


class Attempts:
    """Those of one pool; nothing of an attempt is kept here."""

    def __init__(
        self,
        performer: Performer,
        *,
        catalog: LoadCatalog,
        variants: Variants | None = None,
        roster: Roster,
        refusals: Refusals,
        assigner: Assigner,
        settler: Settler,
        clock: Clock,
    ) -> None:
        """Without `variants` a replay is done by the agent as it was."""
        self._performer = performer
        self._catalog = catalog
        self._variants = variants
        self._roster = roster
        self._refusals = refusals
        self._assigner = assigner
        self._settler = settler
        self._clock = clock
        self._log = StructuredLogger(pool_name(performer.mode))

    async def carry_out(self, attempt: Attempt) -> None:
        """Returns when the store has taken what the run came to, or another owner has the run.

        FencedError where the attempt itself came to know of that owner, CancelledError where nobody said why.
        """
        run = attempt.run
        with bind_trace(run.trace_id, run_id=run.run_id, agent_id=run.agent):
            self._log.info("run started", attempt=run.attempt, fencing=run.fencing)
            await self._settler.settle(run, await self._settlement(attempt))

    async def _settlement(self, attempt: Attempt) -> Settlement:
        """What the run comes to; whoever stopped it has left the reason."""
        try:
            performance = await self._perform(attempt)
        except asyncio.CancelledError:
            if attempt.interruption is None:
                raise
            attempt.task.uncancel()
            return await self._interrupted(attempt.run, attempt.interruption)
        except FencedError:
            raise
        except CallboardError as error:
            self._log.warning("run cannot go on", code=error.code, reason=error.message)
            performance = Performance(outcome=failure_of(error))
        except Exception as error:  # noqa: BLE001  # an agent that raises is a failed attempt, not a dead pool
            self._log.error("the agent raised", exc_info=True)
            performance = Performance(outcome=failure_of(error))
        attempt.over = True
        if performance.settlement is not None:
            return performance.settlement
        return performance.adds(await self._settler.after(attempt.run, acceptable(performance.outcome)))

    async def _perform(self, attempt: Attempt) -> Performance:
        run = attempt.run
        refused = self._refusals.of(run.agent)
        if refused is not None:
            return self._turn_away(run, refused)
        catalog = await self._catalog(run.catalog)
        entry = catalog.get(run.agent)
        if entry is None:
            raise NotFoundError(f"agent {run.agent} is not in catalog {run.catalog}", code="unknown_agent")
        if self._variants is not None:
            entry = await self._variants.entry(run, entry)
        assignment = await self._assigner.assignment(attempt, entry, catalog)
        performance = await self._performer.perform(self._roster.agent(entry), entry, assignment)
        if isinstance(performance.outcome, Handed):
            return self._handed(performance, performance.outcome, assignment, catalog)
        return performance

    def _turn_away(self, run: Run, refused: Refusal) -> Performance:
        """It has failed where nobody can work on it. Else it was accepted because somebody can: it goes back for that
        process, or for this one, which may be about to read the tool that the other has read already."""
        if refused.everywhere:
            failed = Failed(code="agent_unavailable", message=refused.reason, retryable=True, usage=Usage())
            return Performance(outcome=failed)
        self._log.warning("run left to a process that can work on it", reason=refused.reason)
        self._refusals.turn_away(run.agent)
        return Performance(settlement=turned_away(run, refused.reason, self._clock.now()))

    def _handed(
        self, performance: Performance, handed: Handed, assignment: Assignment, catalog: Catalog
    ) -> Performance:
        """The tasks become runs in the transaction in which this one begins to wait for them."""
        run, now = assignment.run, self._clock.now()
        children = tuple(handed_run(run, task, catalog, now) for task in handed.children)
        settlement = settlement_of(run, handed, now, children=children, absorbed=assignment.ended_children)
        return replace(performance, settlement=performance.adds(settlement))

    async def _interrupted(self, run: Run, why: Interruption) -> Settlement:
        now = self._clock.now()
        match why:
            case Interruption.TIMED_OUT:
                return timed_out(run, now)
            case Interruption.CANCELLED:
                return cancelled(run, now)
            case Interruption.UNRESPONSIVE:
                said = "the agent gave no sign of life"
                failed = Failed(code="unresponsive", message=said, retryable=True, usage=UNKNOWN_USAGE)
                return await self._settler.after(run, failed)
            case Interruption.DRAINED:
                return handed_back(run, now)
