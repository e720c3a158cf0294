"""Who works: definitions, orchestrator, pools and schedules."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from callboard.agents.autonomous_agent_pool import AutonomousAgentPool
from callboard.agents.collaborative_agent_pool import CollaborativeAgentPool
from callboard.agents.continuous_agent_runner import ContinuousAgentRunner
from callboard.agents.engine import Engine
from callboard.agents.engines.tool_loop import ToolLoopEngine
from callboard.agents.execution_agent import AgentWorkshop, ResolveSecrets
from callboard.agents.pool import AgentPool, Performer, PoolSettings
from callboard.agents.roster import Roster
from callboard.agents.tools.http import HttpTools
from callboard.agents.tools.registry import ToolRegistry
from callboard.agents.tools.resolver import SystemResolver
from callboard.agents.vital_signs import VitalSigns
from callboard.bootstrap.core import Core
from callboard.clock import Clock
from callboard.config.catalog import Catalog
from callboard.config.catalog_reader import CatalogReader
from callboard.config.configuration_service import ConfigurationService
from callboard.config.definition import AgentDefinition
from callboard.config.folder_scan import WatchedFolder
from callboard.config.secrets import known_secrets, references, resolve_tree
from callboard.ids import Ids
from callboard.llm.provider_factory import NOT_IN_THIS_RELEASE, LLMProviderFactory
from callboard.llm.providers.scripted import ScriptedProvider
from callboard.logs import Redactor
from callboard.messaging.topology import run_cancel
from callboard.orchestrator.agent_orchestrator import AgentOrchestrator
from callboard.orchestrator.dispatcher import Dispatcher
from callboard.orchestrator.health_watch import SILENT_SECONDS, HealthWatch
from callboard.orchestrator.registry import AgentRegistry
from callboard.scheduler.scheduler_service import SchedulerService
from callboard.settings import Settings, dotenv_values
from callboard.state.journal_store import JournalStore
from callboard.state.lease import ProcessLease
from callboard.state.occurrence_store import OccurrenceStore

MADE_AGENTS = "agents"
"""Inside the data folder: agents that were made from Slack or the command line (DESIGN.md, R22)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What tests and benchmarks set differently; users have no need to."""

    clock: Clock | None = None
    ids: Ids | None = None
    engine: Engine | None = None
    silent_seconds: float = SILENT_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Who works: definitions, orchestrator, pools, schedules."""

    tools: ToolRegistry
    configuration: ConfigurationService
    registry: AgentRegistry
    orchestrator: AgentOrchestrator
    lease: ProcessLease
    pools: tuple[AgentPool, ...]
    vital_signs: VitalSigns
    scheduler: SchedulerService


def make_crew(core: Core, tuned: Tuning, redactor: Redactor) -> Crew:
    """Definitions, orchestrator, pools and schedules."""
    environment = {**dotenv_values(), **os.environ}
    core.catalog.subscribe(_learn_secrets(redactor, environment))
    settings, clock = core.settings, core.clock
    tools = ToolRegistry(HttpTools(SystemResolver(), permitted=frozenset(settings.http_allow)).factories())
    workshop = AgentWorkshop(
        providers=LLMProviderFactory(
            {"scripted": lambda config: ScriptedProvider(config, clock)}, unavailable=NOT_IN_THIS_RELEASE
        ),
        tools=tools,
        engine=tuned.engine or ToolLoopEngine(),
        resolve_secrets=_resolver(environment),
        clock=clock,
    )
    registry = AgentRegistry(core.catalog.current, core.agent_health, workshop.why_unavailable)
    lease = ProcessLease(
        core.processes,
        clock,
        core.process_id,
        lambda run_ids: _cancel(pools, run_ids),
        core.bus.listen([run_cancel(core.process_id)]),
        beat_seconds=settings.lease_beat_seconds,
    )
    pools = tuple(_pool(core, performer, workshop, registry, lease) for performer in _performers(core))
    return Crew(
        tools=tools,
        configuration=ConfigurationService(
            _folders(settings), core.catalogs, core.catalog, clock, known_tools=frozenset(tools.names())
        ),
        registry=registry,
        orchestrator=AgentOrchestrator(
            registry,
            Dispatcher(
                core.store,
                core.bus,
                core.catalog.current,
                clock,
                core.dead_letters.keep,
                default_agent=settings.default_agent,
            ),
            HealthWatch(core.agent_health, clock, silent_seconds=tuned.silent_seconds),
            core.bus,
        ),
        lease=lease,
        pools=pools,
        vital_signs=VitalSigns(
            pools,
            core.agent_health,
            clock,
            core.process_id,
            every_seconds=min(settings.lease_beat_seconds, tuned.silent_seconds / 4),
        ),
        scheduler=SchedulerService(
            _definitions(core.catalog), OccurrenceStore(core.database, core.outbox, clock), clock
        ),
    )


def _performers(core: Core) -> tuple[Performer, ...]:
    return (
        AutonomousAgentPool(),
        CollaborativeAgentPool(core.states, core.queries.children, core.catalog.catalog, core.clock),
        ContinuousAgentRunner(core.states),
    )


def _pool(
    core: Core, performer: Performer, workshop: AgentWorkshop, registry: AgentRegistry, lease: ProcessLease
) -> AgentPool:
    return AgentPool(
        performer,
        store=core.store,
        journals=JournalStore(core.database, core.clock),
        catalog=core.catalog.catalog,
        roster=Roster(workshop.make, core.clock),
        bus=core.bus,
        clock=core.clock,
        ids=core.ids,
        metrics=core.metrics,
        process_id=core.process_id,
        may_start=lease.may_start,
        refusal=registry.refusal,
        settings=PoolSettings(slots=core.settings.pool_concurrency),
    )


def _cancel(pools: Sequence[AgentPool], run_ids: frozenset[str]) -> None:
    for pool in pools:
        pool.cancel(run_ids)


def _definitions(catalog: CatalogReader) -> Callable[[], Sequence[AgentDefinition]]:
    def definitions() -> Sequence[AgentDefinition]:
        return [entry.definition for entry in catalog.current()]

    return definitions


def _resolver(environment: Mapping[str, str]) -> ResolveSecrets:
    def resolve(options: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        resolved = resolve_tree(options, environment)
        assert isinstance(resolved, dict)  # noqa: S101  # a mapping stays one
        return resolved

    return resolve


def _learn_secrets(redactor: Redactor, environment: Mapping[str, str]) -> Callable[[Catalog], None]:
    """What agent files refer to must not be seen in logs from then on."""

    def learn(catalog: Catalog) -> None:
        names = {name for entry in catalog for tool in entry.definition.tools for name in references(tool.model_dump())}
        redactor.add(*known_secrets(environment, frozenset(names)))

    return learn


def _folders(settings: Settings) -> tuple[WatchedFolder, ...]:
    made = settings.data_folder / MADE_AGENTS
    return (
        WatchedFolder(settings.agents_folder, settings.agents_folder.as_posix()),
        WatchedFolder(made, made.as_posix()),
    )
