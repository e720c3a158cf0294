"""From settings to a system that runs, and running it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import uvloop

from callboard import roles
from callboard.bootstrap.checks import embedded_checks
from callboard.bootstrap.core import Core, make_core, take_over
from callboard.bootstrap.crew import Crew, make_crew
from callboard.bootstrap.desk import Desk, make_desk
from callboard.bootstrap.places import check_address, data_folder
from callboard.bootstrap.slack_desk import SlackDesk, make_slack_desk
from callboard.bootstrap.sweeping import make_paused_runs, make_retention, make_sweeper
from callboard.bootstrap.tuning import Tuning
from callboard.clock import SystemClock
from callboard.errors import UnavailableError
from callboard.ids import RandomIds
from callboard.lifecycle import Supervisor
from callboard.logs import LogSettings, Redactor, StructuredLogger, configure
from callboard.messaging.local import LocalEventBus
from callboard.scheduler.ticker import Ticker
from callboard.settings import Settings, secret_values
from callboard.state.sql import migrating
from callboard.state.sql.sqlite import SqliteDatabase


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
            # What the start has made stays: without this the collector looks through all of it now and then, and every
            # request waits a tenth of a second for that.
            gc.freeze()
            log.info("callboard is up", url=system.url, agents=len(system.core.catalog.current()), pid=os.getpid())
            if sys.stderr.isatty():
                # The log is JSON for machines; whoever started this by hand wants to know where it is.
                print(f"callboard is up at {system.url}; Ctrl-C stops it", file=sys.stderr)
            if settings.api_token is None:
                log.warning("no CALLBOARD_API_TOKEN: the API answers on this machine alone")
            return await system.supervisor.run()


@contextlib.asynccontextmanager
async def embedded(
    settings: Settings, *, redactor: Redactor | None = None, tuning: Tuning | None = None
) -> AsyncIterator[System]:
    """Every role in one process over one data folder; the supervisor is ready to run when this yields.

    Raises ConflictError (the folder is in use), UnavailableError (folder, database or port cannot be had).
    """
    tuned = tuning or Tuning()
    check_address(settings)
    async with contextlib.AsyncExitStack() as stack:
        core = await _core(settings, tuned, stack)
        crew = make_crew(core, tuned, redactor or Redactor())
        stack.push_async_callback(crew.workshop.mcp.close)
        slack = await make_slack_desk(core, core.store.accept_event, stack, clock=core.clock)
        desk = make_desk(
            core,
            crew.workshop.registry,
            crew.scheduler,
            crew.workshop.toolbox,
            embedded_checks(core, slack.gateway),
            stack,
            port=settings.port,
            more_routes=slack.gateway.routes(),
        )
        await take_over(core)
        await core.bus.start()
        stack.push_async_callback(core.bus.close)
        await crew.workshop.toolbox.watch.start()
        await crew.configuration.start()
        await crew.scheduler.initialize()
        await crew.orchestrator.initialize()
        supervisor = Supervisor(core.clock, drain_seconds=settings.drain_seconds)
        for name, loop in _loops(core, crew, slack, desk):
            supervisor.add(name, loop)
        yield System(core=core, crew=crew, desk=desk, supervisor=supervisor)
        try:
            await core.processes.hand_back(core.process_id)
        except UnavailableError as error:
            # The next process finds by the lock that this one is gone, and takes what it had.
            StructuredLogger("callboard").warning("runs could not be handed back", reason=error.message)


async def _core(settings: Settings, tuned: Tuning, stack: contextlib.AsyncExitStack) -> Core:
    """Over the data folder, which is ours alone from now on, with its database as this version needs it."""
    folder = stack.enter_context(data_folder(settings))
    database = SqliteDatabase(folder.database)
    await asyncio.to_thread(migrating.upgrade, database.engine)
    await database.start()
    stack.push_async_callback(database.close)
    clock, ids = tuned.clock or SystemClock(), tuned.ids or RandomIds()
    core, _ = make_core(settings, database, lambda _, letters: LocalEventBus(clock, letters), clock, ids)
    return core


def _loops(core: Core, crew: Crew, slack: SlackDesk, desk: Desk) -> list[roles.NamedLoop]:
    """Every role in one process."""
    return [
        *roles.outbox(core.outbox, relay=True),
        *roles.lease(crew.pools.lease),
        *roles.state_manager(make_sweeper(core), make_paused_runs(core)),
        *roles.retention(make_retention(core)),
        *roles.project_tools(crew.workshop.toolbox.watch),
        *roles.config_service(crew.configuration),
        *roles.definitions(core.catalog),
        *roles.slack_out(slack.responder, slack.wake),
        *roles.agent_orchestrator(crew.orchestrator),
        *roles.availability(crew.availability),
        *roles.models_file(crew.workshop.models),
        *roles.agent_pools(crew.pools.pools, crew.pools.vital_signs),
        *roles.ticks(Ticker(crew.scheduler, core.clock)),
        *roles.port("http", desk.server),
    ]
