"""What `GET /health` says."""

from __future__ import annotations

import asyncio

import pytest

from callboard.clock import ManualClock
from callboard.errors import UnavailableError
from callboard.health import Degraded, HealthChecks
from tests.support.waiting import wait_until


async def _fine() -> None:
    return None


async def test_all_well_is_healthy() -> None:
    checks = HealthChecks(ManualClock())
    checks.register("database", _fine)
    report = await checks.report()
    assert report.healthy
    assert report.as_dict() == {
        "status": "healthy",
        "checks": {"database": {"status": "healthy", "latency_ms": 0.0}},
    }


async def test_no_checks_at_all_is_healthy() -> None:
    assert (await HealthChecks(ManualClock()).report()).as_dict() == {"status": "healthy", "checks": {}}


async def test_one_failing_check_makes_the_whole_unhealthy_and_hides_what_a_driver_said() -> None:
    async def broken() -> None:
        raise ConnectionError("postgresql://callboard:s3cret@db/callboard refused")

    checks = HealthChecks(ManualClock())
    checks.register("database", broken)
    checks.register("bus", _fine)
    shown = (await checks.report()).as_dict()
    assert shown["status"] == "unhealthy"
    assert shown["checks"]["bus"]["status"] == "healthy"
    assert shown["checks"]["database"] == {"status": "unhealthy", "latency_ms": 0.0, "reason": "ConnectionError"}


async def test_an_error_of_our_own_is_shown_with_its_message() -> None:
    async def not_configured() -> None:
        raise UnavailableError("SLACK_SIGNING_SECRET is not set")

    checks = HealthChecks(ManualClock())
    checks.register("slack", not_configured)
    assert (await checks.report()).checks["slack"].reason == "SLACK_SIGNING_SECRET is not set"


async def test_a_part_bypassed_on_purpose_is_degraded_and_the_whole_stays_healthy() -> None:
    async def bypassed() -> Degraded:
        return Degraded(reason="REDIS_URL is not set")

    checks = HealthChecks(ManualClock())
    checks.register("redis", bypassed)
    shown = (await checks.report()).as_dict()
    assert shown["status"] == "healthy"
    assert shown["checks"]["redis"]["status"] == "degraded"


async def test_a_check_that_hangs_is_unhealthy_after_its_time_and_delays_nobody() -> None:
    clock = ManualClock()
    checks = HealthChecks(clock, timeout_seconds=2.0)
    asked = asyncio.Event()

    async def hangs() -> None:
        asked.set()
        await asyncio.Event().wait()

    checks.register("database", hangs)
    report = asyncio.create_task(checks.report())
    await wait_until(asked.is_set, "the check is asked")
    await clock.advance(2.0)
    result = (await report).checks["database"]
    assert (result.status, result.latency_ms, result.reason) == ("unhealthy", 2000.0, "no answer within 2 s")


async def test_checks_are_asked_at_the_same_time() -> None:
    meeting = asyncio.Barrier(3)

    async def meets_the_others() -> None:
        await meeting.wait()

    checks = HealthChecks(ManualClock())
    for name in ("a", "b", "c"):
        checks.register(name, meets_the_others)
    assert (await checks.report()).healthy


def test_two_checks_of_one_name_are_refused() -> None:
    checks = HealthChecks(ManualClock())
    checks.register("database", _fine)
    with pytest.raises(ValueError, match="'database'"):
        checks.register("database", _fine)
