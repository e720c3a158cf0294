"""The pools of a process, the lease under which they hold runs, and their signs of life."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from callboard.agents.assigning import Assigner
from callboard.agents.attempts import Attempts
from callboard.agents.autonomous_agent_pool import AutonomousAgentPool
from callboard.agents.claims import Claims
from callboard.agents.collaborative_agent_pool import CollaborativeAgentPool
from callboard.agents.continuous_agent_runner import ContinuousAgentRunner
from callboard.agents.performer import Performer
from callboard.agents.pool import AgentPool, pool_slots
from callboard.agents.recordings import Recordings
from callboard.agents.refusals import Refusals
from callboard.agents.roster import Roster
from callboard.agents.run_budget import RunBudgets
from callboard.agents.settler import Settler
from callboard.agents.text_stream import TextStreams
from callboard.agents.variants import Variants
from callboard.agents.vital_signs import VitalSigns
from callboard.bootstrap.core import Core
from callboard.bootstrap.workshop import Workshop
from callboard.messaging.topology import run_cancel
from callboard.orchestrator.health_watch import SILENT_SECONDS
from callboard.state.journal_store import JournalStore
from callboard.state.lease import ProcessLease
from callboard.state.replay_store import ReplayStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """What works runs off."""

    lease: ProcessLease
    pools: tuple[AgentPool, ...]
    vital_signs: VitalSigns


def make_pools(
    core: Core, workshop: Workshop, performers: Sequence[Performer], *, silent_seconds: float = SILENT_SECONDS
) -> Pools:
    """One pool for each performer, all under this process's lease."""
    settings, clock = core.settings, core.clock
    lease = ProcessLease(
        core.processes,
        clock,
        core.process_id,
        lambda run_ids: _cancel(pools, run_ids),
        core.bus.listen([run_cancel(core.process_id)]),
        beat_seconds=settings.lease_beat_seconds,
        dead_seconds=settings.lease_dead_seconds,
    )
    pools = tuple(_pool(core, performer, workshop, lease) for performer in performers)
    return Pools(
        lease=lease,
        pools=pools,
        vital_signs=VitalSigns(
            pools,
            core.agent_health,
            clock,
            core.process_id,
            every_seconds=min(settings.lease_beat_seconds, silent_seconds / 4),
        ),
    )


def autonomous(core: Core) -> Performer:
    return AutonomousAgentPool()


def collaborative(core: Core) -> Performer:
    return CollaborativeAgentPool(core.states, core.queries.children, core.catalog.catalog, core.clock)


def continuous(core: Core) -> Performer:
    return ContinuousAgentRunner(
        core.states, JournalStore(core.database, core.clock), core.clock, _recordings(core).past
    )


def _pool(core: Core, performer: Performer, workshop: Workshop, lease: ProcessLease) -> AgentPool:
    roster, refusals = Roster(workshop.agents.make, core.clock), Refusals(workshop.registry.refusal)
    return AgentPool(
        performer.mode,
        claims=Claims(
            performer.mode,
            store=core.store,
            process_id=core.process_id,
            may_start=lease.may_start,
            refusals=refusals,
            clock=core.clock,
            ids=core.ids,
        ),
        attempts=_attempts(core, performer, workshop, roster, refusals),
        roster=roster,
        bus=core.bus,
        clock=core.clock,
        slots=pool_slots(core.settings.pool_concurrency),
    )


def _attempts(core: Core, performer: Performer, workshop: Workshop, roster: Roster, refusals: Refusals) -> Attempts:
    clock, journals = core.clock, JournalStore(core.database, core.clock)
    return Attempts(
        performer,
        catalog=core.catalog.catalog,
        variants=Variants(core.catalog.entry),
        roster=roster,
        refusals=refusals,
        assigner=Assigner(
            core.store,
            journals,
            core.metrics,
            budgets=_budgets(core, workshop),
            children=core.queries.children,
            artifacts=core.artifacts,
            recordings=_recordings(core),
            texts=TextStreams(clock, core.bus.signal, most=core.settings.streamed_runs, redactor=workshop.redactor),
        ),
        settler=Settler(
            performer.mode, store=core.store, journals=journals, clock=clock, ids=core.ids, metrics=core.metrics
        ),
        clock=clock,
    )


def _recordings(core: Core) -> Recordings:
    store, queries = ReplayStore(core.database), core.queries
    return Recordings(store, run=queries.run, children=queries.children, questions=core.store.answers_of)


def _budgets(core: Core, workshop: Workshop) -> RunBudgets | None:
    models = workshop.models
    if models is None:
        return None
    return RunBudgets(core.budgets, lambda: models.current, core.catalog.catalog, core.clock)


def _cancel(pools: Sequence[AgentPool], run_ids: frozenset[str]) -> None:
    for pool in pools:
        pool.cancel(run_ids)
