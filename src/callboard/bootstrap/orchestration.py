"""Events to runs, definitions from files, schedules from definitions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from callboard.bootstrap.core import Core
from callboard.config.catalog_reader import CatalogReader
from callboard.config.configuration_service import ConfigurationService
from callboard.config.definition import AgentDefinition
from callboard.config.folder_scan import WatchedFolder
from callboard.orchestrator.agent_orchestrator import AgentOrchestrator
from callboard.orchestrator.dispatcher import Dispatcher
from callboard.orchestrator.health_watch import SILENT_SECONDS, HealthWatch
from callboard.orchestrator.registry import AgentRegistry
from callboard.scheduler.scheduler_service import SchedulerService
from callboard.settings import Settings
from callboard.state.lock_store import NamedLease
from callboard.state.occurrence_store import OccurrenceStore

MADE_AGENTS = "agents"
"""Inside the data folder: agents that were made from Slack or the command line (DESIGN.md, R22)."""


def make_orchestrator(
    core: Core, registry: AgentRegistry, *, silent_seconds: float = SILENT_SECONDS
) -> AgentOrchestrator:
    return AgentOrchestrator(
        registry,
        Dispatcher(
            core.store,
            core.bus,
            core.catalog.current,
            core.clock,
            core.dead_letters.keep,
            refresh=core.catalog.refresh,
            default_agent=core.settings.default_agent,
        ),
        HealthWatch(core.agent_health, core.clock, silent_seconds=silent_seconds),
        core.bus,
    )


def make_configuration(
    core: Core, known_tools: Collection[str], lease: NamedLease | None = None
) -> ConfigurationService:
    """Without a `lease` this is the only process that reads the folders."""
    return ConfigurationService(
        _folders(core.settings),
        core.catalogs,
        core.catalog,
        core.clock,
        known_tools=known_tools,
        lease=lease,
    )


def make_scheduler(core: Core) -> SchedulerService:
    return SchedulerService(
        _definitions(core.catalog), OccurrenceStore(core.database, core.outbox, core.clock), core.clock
    )


def _definitions(catalog: CatalogReader) -> Callable[[], Sequence[AgentDefinition]]:
    def definitions() -> Sequence[AgentDefinition]:
        return [entry.definition for entry in catalog.current()]

    return definitions


def _folders(settings: Settings) -> tuple[WatchedFolder, ...]:
    made = settings.data_folder / MADE_AGENTS
    return (
        WatchedFolder(settings.agents_folder, settings.agents_folder.as_posix()),
        WatchedFolder(made, made.as_posix()),
    )
