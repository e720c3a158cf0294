"""The process of a role: settings to servers to loops, and an end that is told (DESIGN.md, "Two deployments")."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import platform
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import uvloop

from callboard import roles
from callboard.bootstrap.checks import role_checks
from callboard.bootstrap.core import Core, make_core
from callboard.bootstrap.distributed.work import BuildRole, RoleWork, Surroundings
from callboard.bootstrap.servers import bus_at, cache_at, database_at
from callboard.clock import Clock, SystemClock
from callboard.errors import CallboardError, UnavailableError
from callboard.ids import RandomIds
from callboard.integrations.http_api.health_routes import gauges
from callboard.integrations.http_server import HttpServer
from callboard.integrations.role_port import health_port
from callboard.lifecycle import EXIT_DONE, EXIT_FAILED, Supervisor, ended_by_signals
from callboard.log_file import forget_left_files
from callboard.logs import LogSettings, Redactor, StructuredLogger, configure
from callboard.messaging.rabbitmq import RabbitEventBus
from callboard.settings import Settings, secret_values
from callboard.state.database_clock import DatabaseClock
from callboard.state.sql import migrating
from callboard.state.sql.postgres import PostgresDatabase

_HERE = "callboard.bootstrap.distributed"
ROLES: Mapping[str, str] = MappingProxyType(
    {
        "config-service": f"{_HERE}.config_service:build",
        "state-manager": f"{_HERE}.state_manager:build",
        "event-bus": f"{_HERE}.event_bus:build",
        "slack-gateway": f"{_HERE}.slack_gateway:build",
        "api": f"{_HERE}.api:build",
        "agent-orchestrator": f"{_HERE}.agent_orchestrator:build",
        "collaborative-agent-pool": f"{_HERE}.agent_pools:collaborative",
        "autonomous-agent-pool": f"{_HERE}.agent_pools:autonomous",
        "continuous-agent-runner": f"{_HERE}.agent_pools:continuous",
        "scheduler-service": "callboard.bootstrap.celery_roles:build_beat",
        "celery-worker": "callboard.bootstrap.celery_roles:build_worker",
    }
)
"""role → module:function that builds it, loaded by that role only"""

MIGRATING_ROLE = "state-manager"
TOPOLOGY_ROLE = "event-bus"
RETRY_SECONDS = 2.0
SHORTEST_LIFE_SECONDS = 5.0
"""A process that cannot do its work ends no sooner, so that whatever starts it anew does not spin."""


def serve(settings: Settings, role: str) -> int:
    """Runs one role until a signal; the exit code."""
    return uvloop.run(_serve(settings, role))


async def _serve(settings: Settings, role: str) -> int:
    redactor = Redactor()
    logs = LogSettings(
        level=settings.log_level,
        folder=settings.log_folder,
        name=f"{role}.{platform.node()}.{os.getpid()}",
        secrets=secret_values(settings),
    )
    clock = SystemClock()
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # a coroutine that runs is a task's
    forget_left_files(settings.log_folder, clock.now().timestamp())
    with configure(logs, redactor=redactor), ended_by_signals(task):
        begun = clock.monotonic()
        log = StructuredLogger(role)
        try:
            code = await _attempt(settings, role, redactor, clock, log)
            if code != EXIT_DONE:
                await clock.sleep(max(0.0, begun + SHORTEST_LIFE_SECONDS - clock.monotonic()))
        except asyncio.CancelledError:
            task.uncancel()
            log.info("stopped before it was up")
            return EXIT_DONE
        return code


async def _attempt(settings: Settings, role: str, redactor: Redactor, clock: Clock, log: StructuredLogger) -> int:
    try:
        return await _run(settings, role, redactor, clock, log)
    except CallboardError as error:
        log.error("this role cannot run", reason=error.message)  # noqa: TRY400  # it is no defect: a trace says nothing
    except Exception:  # the outermost frame of a role: what ended it is told as a log line and an exit code
        log.exception("this role has failed")
    return EXIT_FAILED


async def _run(settings: Settings, role: str, redactor: Redactor, clock: Clock, log: StructuredLogger) -> int:
    async with contextlib.AsyncExitStack() as stack:
        opened = await stack.enter_async_context(open_core(settings, role, clock, log))
        core = opened.core
        work = await _builder(role)(
            Surroundings(core=core, source=opened.bus, host_clock=clock, stack=stack, redactor=redactor)
        )
        server = _health_server(core, work)
        stack.callback(server.close)
        await core.bus.start()
        stack.push_async_callback(core.bus.close)
        await _until_it_works(work.begin, clock, log, "cannot begin yet")
        supervisor = Supervisor(clock, drain_seconds=settings.drain_seconds)
        for name, loop in (
            *roles.port("health", server),
            *roles.database_clock(opened.clock),
            *roles.outbox(core.outbox, relay=False),
            *work.loops,
        ):
            supervisor.add(name, loop)
        gc.freeze()
        log.info("role is up", role=role, url=work.serves, health=server.url, pid=os.getpid())
        try:
            return await supervisor.run()
        finally:
            await work.end()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The core, and its bus and clock as what they are."""

    core: Core
    bus: RabbitEventBus
    clock: DatabaseClock


@contextlib.asynccontextmanager
async def open_core(settings: Settings, role: str, clock: Clock, log: StructuredLogger) -> AsyncIterator[Opened]:
    """The core over its servers, once the database answers and its schema is the one that this release needs.

    What is stored goes by the database's clock: those of the hosts are never compared with one another.
    """
    database = database_at(settings)
    make_bus = bus_at(settings, clock, name=role, keeps_topology=role == TOPOLOGY_ROLE)
    cache = cache_at(settings, clock)
    try:
        await cache.start()
        await _until_it_works(database.start, clock, log, "cannot reach the database yet")
        await _until_it_works(lambda: _prepare_schema(database, migrates=role == MIGRATING_ROLE), clock, log, "waiting")
        shared = DatabaseClock(database, clock)
        await _until_it_works(shared.sync, clock, log, "cannot read the database's time yet")
        core, bus = make_core(settings, database, make_bus, shared, RandomIds(), cache)
        yield Opened(core=core, bus=bus, clock=shared)
    finally:
        await cache.close()
        await database.close()


async def _prepare_schema(database: PostgresDatabase, *, migrates: bool) -> None:
    """One role migrates; the others wait for it. A database that a newer release has brought further will do."""
    missing = await database.with_engine(migrating.missing_revision)
    if missing is None:
        return
    if not migrates:
        raise UnavailableError(
            f"the database is not at revision {missing} yet: {MIGRATING_ROLE} brings it there at its start (or "
            "`callboard db upgrade`)"
        )
    await database.migrate()


async def _until_it_works(
    attempt: Callable[[], Awaitable[None]], clock: Clock, log: StructuredLogger, message: str
) -> None:
    """Servers start in any order and go away at any time; what this process needs, it waits for."""
    told: str | None = None
    while True:
        try:
            await attempt()
        except UnavailableError as error:
            if error.message != told:
                log.warning(message, reason=error.message)
                told = error.message
        else:
            return
        await clock.sleep(RETRY_SECONDS)


def _health_server(core: Core, work: RoleWork) -> HttpServer:
    refresh = gauges(core.queries, core.metrics, core.clock)
    app = health_port(role_checks(core, work.checks), core.metrics, refresh)
    return HttpServer(app, core.settings.host, core.settings.health_port)


def _builder(role: str) -> BuildRole:
    module, _, attribute = ROLES[role].partition(":")
    build: BuildRole = getattr(importlib.import_module(module), attribute)
    return build
