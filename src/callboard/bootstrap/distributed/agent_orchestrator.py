"""agent-orchestrator: routes events to runs, takes in what comes by the bus, watches the agents' health."""

from __future__ import annotations

from callboard import roles
from callboard.bootstrap.distributed.work import RoleWork, Surroundings
from callboard.bootstrap.orchestration import make_orchestrator
from callboard.bootstrap.workshop import make_workshop
from callboard.orchestrator.ingress import Ingress


async def build(around: Surroundings) -> RoleWork:
    core = around.core
    workshop = make_workshop(core, around.redactor, runs_agents=False)
    orchestrator = make_orchestrator(core, workshop.registry)
    ingress = Ingress(
        core.store, core.catalog.current, core.clock, core.ids, max_deliveries=core.settings.max_deliveries
    )
    ingress.consume_from(around.source)

    async def begin() -> None:
        await core.catalog.refresh()
        await orchestrator.initialize()

    return RoleWork(
        loops=[*roles.definitions(core.catalog), *roles.agent_orchestrator(orchestrator)],
        begin=begin,
    )
