"""What faces people: the HTTP API and the port they come through."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from callboard.bootstrap.core import Core
from callboard.bootstrap.toolbox import Toolbox
from callboard.config.models_file import ModelsFile, read_models
from callboard.health import HealthChecks
from callboard.integrations.http_api.app import HttpApi
from callboard.integrations.http_api.services import ApiServices
from callboard.integrations.http_server import HttpServer
from callboard.orchestrator.registry import AgentRegistry
from callboard.scheduler.scheduler_service import SchedulerService
from callboard.settings import text_of
from callboard.state.plan_store import PlanStore
from callboard.state.replay_store import ReplayStore

if TYPE_CHECKING:
    from starlette.routing import BaseRoute


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What faces people."""

    api: HttpApi
    server: HttpServer


def make_desk(
    core: Core,
    registry: AgentRegistry,
    schedules: SchedulerService,
    toolbox: Toolbox,
    health: HealthChecks,
    stack: contextlib.AsyncExitStack,
    *,
    port: int,
    more_routes: Sequence[BaseRoute] = (),
) -> Desk:
    """Takes its port at once."""
    settings = core.settings
    api = HttpApi(
        ApiServices(
            store=core.store,
            queries=core.queries,
            catalog=core.catalogs,
            versions=core.catalog,
            registry=registry,
            schedules=schedules,
            dead_letters=core.dead_letters,
            deliveries=core.deliveries,
            artifacts=core.artifacts,
            plans=PlanStore(core.database, core.clock),
            replays=ReplayStore(core.database),
            budgets=core.budgets,
            mcp_tools=core.mcp_tools,
            memory=core.memory,
            health=health,
            metrics=core.metrics,
            clock=core.clock,
            ids=core.ids,
            listen=core.bus.listen,
            log_folder=settings.log_folder,
            token=text_of(settings.api_token),
            known_tools=toolbox.registry.known,
            tools=toolbox.listing,
            models=lambda: asyncio.to_thread(_models, settings.models_file),
        ),
        more_routes=more_routes,
    )
    server = HttpServer(api, settings.host, port, before_stop=api.close_streams)
    stack.callback(server.close)
    return Desk(api=api, server=server)


def _models(path: Path) -> ModelsFile:
    """Only for showing: what is wrong with the file is said by the processes that go by it."""
    return read_models(path).models or ModelsFile()
