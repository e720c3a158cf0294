"""What a role says of its health when its surroundings are missing."""

from __future__ import annotations

from callboard.bootstrap.checks import done_without
from callboard.clock import SystemClock
from callboard.errors import UnavailableError
from callboard.health import Degraded, HealthChecks, HealthStatus


async def away() -> None:
    raise UnavailableError("the broker at host:5672 is away")


async def there() -> None:
    return None


async def test_what_is_done_without_leaves_the_role_healthy_and_says_what_goes_on() -> None:
    checks = HealthChecks(SystemClock())
    checks.register("bus", done_without(away, "the work goes on by polls"))
    report = await checks.report()
    assert report.healthy
    assert report.checks["bus"].status is HealthStatus.DEGRADED
    assert report.checks["bus"].reason == "the broker at host:5672 is away; the work goes on by polls"


async def test_a_part_that_is_there_is_healthy_though_it_could_be_done_without() -> None:
    assert await done_without(there, "…")() is None


async def test_a_part_that_says_itself_that_it_is_bypassed_is_believed() -> None:
    async def bypassed() -> Degraded:
        return Degraded(reason="the breaker is open")

    assert await done_without(bypassed, "…")() == Degraded(reason="the breaker is open")
