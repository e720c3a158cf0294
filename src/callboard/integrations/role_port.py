"""The ports of a role: health and metrics for machines, and the public one of the gateway (DESIGN.md, R31)."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from callboard.health import HealthChecks
from callboard.integrations.http_api.health_routes import Refresh, health_routes
from callboard.metrics import Metrics


def health_port(health: HealthChecks, metrics: Metrics, refresh: Refresh | None = None) -> ASGIApp:
    """`/health` and `/metrics`, for the network of the services only."""
    return Starlette(routes=list(health_routes(health, metrics, refresh)))


def public_port(routes: Sequence[BaseRoute], health: HealthChecks) -> ASGIApp:
    """The given routes and a bare `/health`: what may face the world."""
    return Starlette(routes=[*routes, *health_routes(health)])
