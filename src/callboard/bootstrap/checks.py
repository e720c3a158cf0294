"""What each role asks about its surroundings when somebody asks for its health."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from callboard.bootstrap.core import Core
from callboard.errors import CallboardError
from callboard.health import Degraded, HealthCheck, HealthChecks


class HasSecret(Protocol):
    """Whoever can work only with a secret that the owner sets: the Slack gateway."""

    @property
    def configured(self) -> bool:
        """False when it refuses everything for want of one."""
        ...


def embedded_checks(core: Core, gateway: HasSecret) -> HealthChecks:
    """In one process every part is needed."""
    checks = HealthChecks(core.clock)
    checks.register("database", core.database.ping)
    checks.register("bus", core.bus.ping)
    checks.register("slack", slack_check(gateway))
    return checks


def role_checks(core: Core, own: Mapping[str, HealthCheck] | None = None) -> HealthChecks:
    """Those that every role of the distributed system has; `own` stand beside them, or in their place by name.

    Without the broker the roles go on by polls, so it leaves them degraded; the role whose work it is says otherwise.
    """
    found: dict[str, HealthCheck] = {
        "database": core.database.ping,
        "bus": done_without(core.bus.ping, "the work goes on by polls"),
        "redis": core.cache.ping,
        **(own or {}),
    }
    checks = HealthChecks(core.clock)
    for name, check in found.items():
        checks.register(name, check)
    return checks


def done_without(ping: HealthCheck, meanwhile: str) -> HealthCheck:
    """Degraded without it; `meanwhile` says what goes on how."""

    async def check() -> Degraded | None:
        try:
            return await ping()
        except CallboardError as error:
            return Degraded(reason=f"{error.message}; {meanwhile}")

    return check


def slack_check(gateway: HasSecret) -> HealthCheck:
    async def check() -> Degraded | None:
        return None if gateway.configured else Degraded(reason="not configured: SLACK_SIGNING_SECRET is not set")

    return check
