"""The ports of a role: health and metrics for machines, and the public one of the gateway (DESIGN.md, R31)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from callboard.health import HealthChecks
from callboard.integrations.http_api.health_routes import Refresh, health_routes
from callboard.metrics import Metrics


def health_port(health: HealthChecks, metrics: Metrics, refresh: Refresh | None = None) -> ASGIApp:
    """`/health` and `/metrics`, for the network of the services only."""
    return Starlette(routes=list(health_routes(health, metrics, refresh)))


def public_port(routes: Sequence[BaseRoute], health: HealthChecks) -> ASGIApp:
    """The given routes and a bare `/health`: what may face the world."""
    rest = Starlette(routes=[*routes, *health_routes(health)])
    return _PlainPosts({route.path: route.app for route in routes if isinstance(route, Route)}, rest)


class _PlainPosts:
    """Goes straight to the route of a POST whose path is spelled out, past the layers that look for one.

    They are a fifth of what a request of Slack's costs. Such a route answers its own defects.
    """

    def __init__(self, posts: Mapping[str, ASGIApp], rest: ASGIApp) -> None:
        self._posts = posts
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._posts.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        await (app or self._rest)(scope, receive, send)
