"""What faces people: Slack in and out, the HTTP API, the port they come through."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from callboard.bootstrap.core import Core
from callboard.bootstrap.crew import Crew
from callboard.health import Degraded, HealthChecks
from callboard.integrations.http_api.app import HttpApi
from callboard.integrations.http_api.services import ApiServices
from callboard.integrations.http_server import HttpServer
from callboard.integrations.slack_client import SlackClient
from callboard.integrations.slack_content import DeliveryContent
from callboard.integrations.slack_gateway import SlackGateway
from callboard.integrations.slack_responder import SlackResponder
from callboard.state.deliveries import DeliveryDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What faces people."""

    api: HttpApi
    server: HttpServer
    responder: SlackResponder


async def make_desk(core: Core, crew: Crew, stack: contextlib.AsyncExitStack) -> Desk:
    """What faces people: Slack in and out, the HTTP API, the port they come through."""
    settings = core.settings
    slack = await stack.enter_async_context(
        SlackClient(text_of(settings.slack_bot_token), api_url=settings.slack_api_url)
    )
    content = DeliveryContent(result=core.queries.result, clarification=core.store.clarification)
    responder = SlackResponder(core.deliveries, slack, content.load, core.clock, core.process_id)

    async def plan(drafts: Sequence[DeliveryDraft]) -> None:
        await core.deliveries.plan(drafts)
        responder.wake()

    gateway = SlackGateway(
        signing_secret=text_of(settings.slack_signing_secret),
        accept=core.store.accept_event,
        answer=core.store.answer,
        plan=plan,
        slack=slack,
        clock=core.clock,
        ids=core.ids,
        observe=core.metrics.slack_acked,
    )
    api = HttpApi(
        ApiServices(
            store=core.store,
            queries=core.queries,
            catalog=core.catalogs,
            versions=core.catalog,
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
            token=text_of(settings.api_token),
            known_tools=crew.tools.names(),
        ),
        more_routes=gateway.routes(),
    )
    server = HttpServer(api, settings.host, settings.port, before_stop=api.close_streams)
    stack.callback(server.close)
    return Desk(api=api, server=server, responder=responder)


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


def text_of(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
