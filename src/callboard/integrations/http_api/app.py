"""The HTTP application: `/api/v1`, `/health`, `/metrics`, and whatever else is to be served on the same port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from callboard.errors import CallboardError
from callboard.integrations.http_api.agent_routes import agent_routes
from callboard.integrations.http_api.artifact_routes import artifact_routes
from callboard.integrations.http_api.clarification_routes import clarification_routes
from callboard.integrations.http_api.cost_routes import cost_routes
from callboard.integrations.http_api.dead_letter_routes import dead_letter_routes
from callboard.integrations.http_api.frame import ApiFrame
from callboard.integrations.http_api.health_routes import gauges, health_routes
from callboard.integrations.http_api.invocations import invocation_routes
from callboard.integrations.http_api.mcp_routes import mcp_routes
from callboard.integrations.http_api.memory_routes import memory_routes
from callboard.integrations.http_api.progress_feed import FeedLimits, ProgressFeed
from callboard.integrations.http_api.progress_routes import progress_routes
from callboard.integrations.http_api.replay_routes import replay_routes
from callboard.integrations.http_api.replies import error_reply, reply_to_error, reply_to_status, unexpected_reply
from callboard.integrations.http_api.run_routes import run_routes
from callboard.integrations.http_api.schedule_routes import schedule_routes
from callboard.integrations.http_api.services import ApiServices
from callboard.integrations.http_api.system_routes import product_version, system_routes
from callboard.integrations.http_api.tool_routes import tool_routes
from callboard.integrations.http_api.trace_routes import trace_routes
from callboard.messaging.topology import ALL_RUNS

API_V1 = "/api/v1"


class HttpApi:
    """An ASGI application. Its lifespan keeps the progress streams awake; `close_streams` ends them before a stop.

    `more_routes` (the Slack gateway's) are served beside, without the API's authentication.
    """

    def __init__(
        self,
        services: ApiServices,
        *,
        more_routes: Sequence[BaseRoute] = (),
        with_health: bool = True,
        feed_limits: FeedLimits | None = None,
    ) -> None:
        wake = services.listen([ALL_RUNS])
        self._feed = ProgressFeed(services.queries, wake, services.clock, feed_limits)
        self.fastapi = _fastapi(self._feed)
        self.fastapi.state.services = services
        self.fastapi.state.feed = self._feed
        # Routes are tried in order: Slack, which waits three seconds at most, does not wait for the whole API's.
        self.fastapi.router.routes.extend(more_routes)
        self.fastapi.router.routes.extend(_api_v1())
        if with_health:
            refresh = gauges(services.queries, services.metrics, services.clock)
            self.fastapi.router.routes.extend(health_routes(services.health, services.metrics, refresh))
        self._app: ASGIApp = ApiFrame(self.fastapi, token=services.token, clock=services.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def close_streams(self) -> None:
        """Ends the progress streams, which a server that drains would wait for."""
        self._feed.close()


def _fastapi(feed: ProgressFeed) -> FastAPI:
    """No documentation pages: they load scripts from elsewhere."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        spreading = asyncio.create_task(feed.run(), name="progress feed")
        try:
            yield
        finally:
            feed.close()
            spreading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await spreading

    app = FastAPI(
        title="Callboard",
        version=product_version(),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.add_exception_handler(CallboardError, _expected)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _of_the_framework)
    app.add_exception_handler(Exception, _unexpected)
    return app


def _api_v1() -> list[BaseRoute]:
    """The fixed paths come before those with a name in them.

    Each part is made under the whole prefix: a router that includes others makes all their routes a second time, which
    was a fifth of a second of every start.
    """
    parts = (
        invocation_routes,
        agent_routes,
        memory_routes,
        replay_routes,
        run_routes,
        artifact_routes,
        tool_routes,
        mcp_routes,
        progress_routes,
        trace_routes,
        cost_routes,
        schedule_routes,
        clarification_routes,
        dead_letter_routes,
        system_routes,
    )
    return [route for part in parts for route in part(API_V1).routes]


async def _expected(request: Request, error: Exception) -> Response:
    if not isinstance(error, CallboardError):
        raise error
    return reply_to_error(error)


async def _invalid(request: Request, error: Exception) -> Response:
    """Every problem in one sentence; `field` is the first one's."""
    if not isinstance(error, RequestValidationError):
        raise error
    problems = error.errors()
    if problems[0]["type"] == "json_invalid":
        return error_reply(400, "invalid_json", f"the body is no JSON that is accepted: {problems[0]['ctx']['error']}")
    named = [(".".join(map(str, problem["loc"][1:])) or str(problem["loc"][0]), problem["msg"]) for problem in problems]
    message = "; ".join(f"{name[:80]}: {text[:200]}" for name, text in named[:10])
    return error_reply(422, "invalid_input", message, field=named[0][0][:80])


async def _of_the_framework(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    message = str(error.detail)
    if error.status_code == 404:
        message = f"there is nothing at {request.url.path[:200]}"
    elif error.status_code == 405:
        message = f"{request.method} is not possible at {request.url.path[:200]}"
    return reply_to_status(error.status_code, message, dict(error.headers) if error.headers else None)


async def _unexpected(request: Request, error: Exception) -> Response:
    """The frame logs it."""
    return unexpected_reply()
