"""What each role asks about its surroundings when somebody asks for its health."""

from __future__ import annotations

from callboard.bootstrap.core import Core
from callboard.errors import CallboardError
from callboard.health import Degraded, HealthCheck, HealthChecks
from callboard.integrations.slack_gateway import SlackGateway


def embedded_checks(core: Core, gateway: SlackGateway) -> HealthChecks:
    """In one process every part is needed."""
    checks = HealthChecks(core.clock)
    checks.register("database", core.database.ping)
    checks.register("bus", core.bus.ping)
    checks.register("slack", slack_check(gateway))
    return checks


def done_without(ping: HealthCheck, meanwhile: str) -> HealthCheck:
    """Degraded without it; `meanwhile` says what goes on how."""

    async def check() -> Degraded | None:
        try:
            return await ping()
        except CallboardError as error:
            return Degraded(reason=f"{error.message}; {meanwhile}")

    return check


def slack_check(gateway: SlackGateway) -> HealthCheck:
    async def check() -> Degraded | None:
        return None if gateway.configured else Degraded(reason="not configured: SLACK_SIGNING_SECRET is not set")

    return check
