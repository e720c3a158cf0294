"""The composition root: from settings to a system that runs. The only place that names concrete adapters."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop
from pydantic import JsonValue, SecretStr

from callboard import roles
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
from callboard.clock import Clock, SystemClock
from callboard.config.catalog import Catalog
from callboard.config.catalog_reader import CatalogReader
from callboard.config.configuration_service import ConfigurationService
from callboard.config.definition import AgentDefinition
from callboard.config.folder_scan import WatchedFolder
from callboard.config.secrets import known_secrets, references, resolve_tree
from callboard.errors import UnavailableError
from callboard.health import Degraded, HealthChecks
from callboard.ids import Ids, RandomIds
from callboard.integrations.http_api.app import HttpApi
from callboard.integrations.http_api.services import ApiServices
from callboard.integrations.http_server import HttpServer
from callboard.integrations.slack_client import SlackClient
from callboard.integrations.slack_content import DeliveryContent
from callboard.integrations.slack_gateway import SlackGateway
from callboard.integrations.slack_responder import SlackResponder
from callboard.lifecycle import Supervisor
from callboard.llm.provider_factory import NOT_IN_THIS_RELEASE, LLMProviderFactory
from callboard.llm.providers.scripted import ScriptedProvider
from callboard.logs import LogSettings, Redactor, StructuredLogger, configure
from callboard.messaging.local import LocalEventBus
from callboard.messaging.topology import ALL_CLARIFICATIONS, ALL_RUNS, run_cancel
from callboard.metrics import Metrics
from callboard.orchestrator.agent_orchestrator import AgentOrchestrator
from callboard.orchestrator.dispatcher import Dispatcher
from callboard.orchestrator.health_watch import SILENT_SECONDS, HealthWatch
from callboard.orchestrator.registry import AgentRegistry
from callboard.orchestrator.sweeper import Sweeper
from callboard.scheduler.scheduler_service import SchedulerService
from callboard.scheduler.ticker import Ticker
from callboard.settings import Settings, dotenv_values, secret_values
from callboard.state.agent_health_store import AgentHealthStore
from callboard.state.catalog_store import CatalogStore
from callboard.state.data_folder import DataFolder
from callboard.state.dead_letter_store import DeadLetterStore
from callboard.state.delivery_store import DeliveryStore
from callboard.state.journal_store import JournalStore
from callboard.state.lease import ProcessLease
from callboard.state.occurrence_store import OccurrenceStore
from callboard.state.outbox import Outbox
from callboard.state.process_store import ProcessStore
from callboard.state.query_store import QueryStore
from callboard.state.sql import migrating
from callboard.state.sql.sqlite import SqliteDatabase
from callboard.state.state_manager import StateManager
from callboard.state.store import Store

MADE_AGENTS = "agents"
"""Inside the data folder: agents that were made from Slack or the command line (DESIGN.md, R22)."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
CALLS = ("slack.#",)
"""Events that may be answered without a run: their answers are deliveries too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What tests and benchmarks set differently; users have no need to."""

    clock: Clock | None = None
    ids: Ids | None = None
    engine: Engine | None = None
    silent_seconds: float = SILENT_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """Bus, store and the records in it."""

    settings: Settings
    clock: Clock
    ids: Ids
    process_id: str
    database: SqliteDatabase
    bus: LocalEventBus
    outbox: Outbox
    dead_letters: DeadLetterStore
    store: Store
    processes: ProcessStore
    queries: QueryStore
    states: StateManager
    deliveries: DeliveryStore
    agent_health: AgentHealthStore
    catalogs: CatalogStore
    catalog: CatalogReader
    metrics: Metrics


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What faces people."""

    api: HttpApi
    server: HttpServer
    responder: SlackResponder


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A system that is wired and loaded, and runs under its supervisor."""

    core: Core
    crew: Crew
    desk: Desk
    supervisor: Supervisor

    @property
    def url(self) -> str:
        """Where it answers, without a path."""
        return self.desk.server.url


def up(settings: Settings) -> int:
    """`callboard up`: runs until a signal; the exit code."""
    return uvloop.run(_up(settings))


async def _up(settings: Settings) -> int:
    redactor = Redactor()
    secrets = secret_values(settings)
    with configure(
        LogSettings(level=settings.log_level, folder=settings.log_folder, secrets=secrets), redactor=redactor
    ):
        log = StructuredLogger("callboard")
        async with embedded(settings, redactor=redactor) as system:
            log.info("callboard is up", url=system.url, agents=len(system.core.catalog.current()), pid=os.getpid())
            if settings.api_token is None:
                log.warning("no CALLBOARD_API_TOKEN: the API answers on this machine alone")
            return await system.supervisor.run()


def migrate(folder: Path) -> None:
    """`callboard db upgrade`: brings the database of a data folder up to date; ConflictError while it is in use."""
    with DataFolder(folder) as data:
        migrating.upgrade(SqliteDatabase(data.database).engine)


@contextlib.asynccontextmanager
async def embedded(
    settings: Settings, *, redactor: Redactor | None = None, tuning: Tuning | None = None
) -> AsyncIterator[System]:
    """Every role in one process over one data folder; the supervisor is ready to run when this yields.

    Raises ConflictError (the folder is in use), UnavailableError (folder, database or port cannot be had).
    """
    tuned = tuning or Tuning()
    _check_address(settings)
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(DataFolder(settings.data_folder))
        database = SqliteDatabase(folder.database)
        await asyncio.to_thread(migrating.upgrade, database.engine)
        await database.start()
        stack.push_async_callback(database.close)
        core = _core(settings, database, tuned.clock or SystemClock(), tuned.ids or RandomIds())
        crew = _crew(core, tuned, redactor or Redactor())
        desk = await _desk(core, crew, stack)
        await _take_over(core)
        await core.bus.start()
        stack.push_async_callback(core.bus.close)
        await crew.configuration.start()
        await crew.scheduler.initialize()
        await crew.orchestrator.initialize()
        supervisor = Supervisor(core.clock, drain_seconds=settings.drain_seconds)
        for name, loop in roles.embedded(_parts(core, crew, desk)):
            supervisor.add(name, loop)
        yield System(core=core, crew=crew, desk=desk, supervisor=supervisor)
        await core.processes.hand_back(core.process_id)


def _core(settings: Settings, database: SqliteDatabase, clock: Clock, ids: Ids) -> Core:
    """The bus and the store, which every role stands on."""
    # Each needs the other: a dead letter is a row, and rows are told on the bus.
    bus = LocalEventBus(clock, lambda letter: dead_letters.keep(letter))  # noqa: PLW0108  # bound later
    outbox = Outbox(database, bus, clock)
    dead_letters = DeadLetterStore(database, outbox, clock)
    store = Store(database, outbox, clock)
    catalogs = CatalogStore(database, outbox, clock, ids)
    return Core(
        settings=settings,
        clock=clock,
        ids=ids,
        process_id=ids.new(),
        database=database,
        bus=bus,
        outbox=outbox,
        dead_letters=dead_letters,
        store=store,
        processes=ProcessStore(database, outbox, clock),
        queries=QueryStore(database),
        states=StateManager(database, store, clock),
        deliveries=DeliveryStore(database, clock),
        agent_health=AgentHealthStore(database, outbox, clock, ids),
        catalogs=catalogs,
        catalog=CatalogReader(catalogs, clock),
        metrics=Metrics(),
    )


def _crew(core: Core, tuned: Tuning, redactor: Redactor) -> Crew:
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
            Dispatcher(core.store, core.bus, core.catalog.current, clock, default_agent=settings.default_agent),
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


async def _desk(core: Core, crew: Crew, stack: contextlib.AsyncExitStack) -> Desk:
    """What faces people: Slack in and out, the HTTP API, the port they come through."""
    settings = core.settings
    slack = await stack.enter_async_context(
        SlackClient(_text(settings.slack_bot_token), api_url=settings.slack_api_url)
    )
    gateway = SlackGateway(
        signing_secret=_text(settings.slack_signing_secret),
        accept=core.store.accept_event,
        answer=core.store.answer,
        plan=core.deliveries.plan,
        slack=slack,
        clock=core.clock,
        ids=core.ids,
        observe=core.metrics.slack_acked,
    )
    content = DeliveryContent(result=core.queries.result, clarification=core.store.clarification)
    api = HttpApi(
        ApiServices(
            store=core.store,
            queries=core.queries,
            catalog=core.catalogs,
            registry=crew.registry,
            schedules=crew.scheduler,
            dead_letters=core.dead_letters,
            deliveries=core.deliveries,
            health=_health(core, gateway),
            metrics=core.metrics,
            clock=core.clock,
            ids=core.ids,
            listen=core.bus.listen,
            log_folder=settings.log_folder,
            token=_text(settings.api_token),
            known_tools=crew.tools.names(),
        ),
        more_routes=gateway.routes(),
    )
    server = HttpServer(api, settings.host, settings.port, before_stop=api.close_streams)
    stack.callback(server.close)
    responder = SlackResponder(core.deliveries, slack, content.load, core.clock, core.process_id)
    return Desk(api=api, server=server, responder=responder)


async def _take_over(core: Core) -> None:
    """The lock on the data folder proves that every earlier owner is gone: its runs and its events are ours now."""
    gone = [record.id for record in await core.processes.alive()]
    if gone:
        await core.processes.declare_dead(gone)
    await core.outbox.adopt()
    await core.processes.register(core.process_id, "embedded", platform.node(), os.getpid())


def _parts(core: Core, crew: Crew, desk: Desk) -> roles.Parts:
    settings = core.settings
    return roles.Parts(
        outbox=core.outbox,
        lease=crew.lease,
        sweeper=Sweeper(
            core.store,
            core.processes,
            core.clock,
            beat_seconds=settings.lease_beat_seconds,
            dead_seconds=settings.lease_dead_seconds,
        ),
        configuration=crew.configuration,
        catalog=core.catalog,
        responder=desk.responder,
        deliveries_wake=core.bus.listen([ALL_RUNS, ALL_CLARIFICATIONS, *CALLS]),
        orchestrator=crew.orchestrator,
        pools=crew.pools,
        vital_signs=crew.vital_signs,
        ticker=Ticker(crew.scheduler, core.clock),
        server=desk.server,
    )


def _health(core: Core, gateway: SlackGateway) -> HealthChecks:
    async def slack() -> Degraded | None:
        return None if gateway.configured else Degraded(reason="not configured: SLACK_SIGNING_SECRET is not set")

    async def database() -> None:
        await core.database.ping()

    async def bus() -> None:
        await core.bus.ping()

    checks = HealthChecks(core.clock)
    checks.register("database", database)
    checks.register("bus", bus)
    checks.register("slack", slack)
    return checks


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


def _check_address(settings: Settings) -> None:
    """Without a token the API is this machine's alone (DESIGN.md, R33)."""
    if settings.api_token is None and settings.host not in LOOPBACK:
        raise UnavailableError(
            f"without CALLBOARD_API_TOKEN the API listens on this machine only, not on {settings.host}: set one, or "
            "listen on 127.0.0.1",
            code="token_needed",
        )


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
