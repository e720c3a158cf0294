"""Who works, in the embedded system: definitions, orchestrator, pools and schedules."""

from __future__ import annotations

from dataclasses import dataclass

from callboard.bootstrap import pools as of_pools
from callboard.bootstrap.core import Core
from callboard.bootstrap.orchestration import make_configuration, make_orchestrator, make_scheduler
from callboard.bootstrap.pools import Pools, make_pools
from callboard.bootstrap.tuning import Tuning
from callboard.bootstrap.workshop import Workshop, make_availability, make_workshop
from callboard.config.configuration_service import ConfigurationService
from callboard.logs import Redactor
from callboard.orchestrator.agent_orchestrator import AgentOrchestrator
from callboard.orchestrator.availability import AvailabilityReport
from callboard.scheduler.scheduler_service import SchedulerService


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Who works: definitions, orchestrator, pools, schedules."""

    workshop: Workshop
    configuration: ConfigurationService
    orchestrator: AgentOrchestrator
    pools: Pools
    availability: AvailabilityReport
    scheduler: SchedulerService


def make_crew(core: Core, tuned: Tuning, redactor: Redactor) -> Crew:
    """All of it, for one process."""
    workshop = make_workshop(core, redactor, tuned.engine, breaker=tuned.breaker)
    performers = [make(core) for make in (of_pools.autonomous, of_pools.collaborative, of_pools.continuous)]
    configuration = make_configuration(core, workshop.toolbox.registry.known)
    workshop.toolbox.project.subscribe(configuration.tools_changed)
    return Crew(
        workshop=workshop,
        configuration=configuration,
        orchestrator=make_orchestrator(core, workshop.registry, silent_seconds=tuned.silent_seconds),
        pools=make_pools(core, workshop, performers, silent_seconds=tuned.silent_seconds),
        availability=make_availability(core, workshop, performers),
        scheduler=make_scheduler(core),
    )
