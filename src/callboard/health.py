"""Health: named checks, each registered with the thing it checks, asked together and with a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from callboard.clock import Clock
from callboard.errors import CallboardError


class HealthStatus(StrEnum):
    """`degraded` is a part that is missing and is done without on purpose; it keeps the whole healthy."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Degraded:
    """What a check answers when its part is bypassed; `reason` is shown to the public and holds no secret."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one check found."""

    status: HealthStatus
    latency_ms: float
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """What all checks found; the answer of `GET /health`."""

    checks: dict[str, CheckResult]

    @property
    def healthy(self) -> bool:
        """Whether the answer is 200: no check is unhealthy."""
        return all(check.status is not HealthStatus.UNHEALTHY for check in self.checks.values())

    def as_dict(self) -> dict[str, Any]:
        """The JSON body of INTERFACE.md, section 3."""
        return {
            "status": str(HealthStatus.HEALTHY if self.healthy else HealthStatus.UNHEALTHY),
            "checks": {name: _check_as_dict(check) for name, check in self.checks.items()},
        }


HealthCheck = Callable[[], Awaitable[Degraded | None]]
"""Returns None when all is well and `Degraded` when the part is bypassed; anything raised means unhealthy."""


class HealthChecks:
    """The checks of one process."""

    def __init__(self, clock: Clock, *, timeout_seconds: float = 2.0) -> None:
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._checks: dict[str, HealthCheck] = {}

    def register(self, name: str, check: HealthCheck) -> None:
        """Ask this check from now on; a ValueError when the name is taken."""
        if name in self._checks:
            raise ValueError(f"a health check named {name!r} is registered already")
        self._checks[name] = check

    async def report(self) -> HealthReport:
        """Ask all checks at once; ends within the time limit, whatever they do."""
        names = list(self._checks)
        results = await asyncio.gather(*(self._ask(self._checks[name]) for name in names))
        return HealthReport(checks=dict(zip(names, results, strict=True)))

    async def _ask(self, check: HealthCheck) -> CheckResult:
        begun = self._clock.monotonic()
        asked = asyncio.ensure_future(check())
        limit = asyncio.ensure_future(self._clock.sleep(self._timeout_seconds))
        try:
            await asyncio.wait({asked, limit}, return_when=asyncio.FIRST_COMPLETED)
            status, reason = self._judge(asked)
        finally:
            asked.cancel()
            limit.cancel()
        latency_ms = round((self._clock.monotonic() - begun) * 1000, 3)
        return CheckResult(status=status, latency_ms=latency_ms, reason=reason)

    def _judge(self, asked: asyncio.Future[Degraded | None]) -> tuple[HealthStatus, str | None]:
        if not asked.done():
            return HealthStatus.UNHEALTHY, f"no answer within {self._timeout_seconds:g} s"
        if asked.cancelled():
            return HealthStatus.UNHEALTHY, "the check was cancelled"
        error = asked.exception()
        if error is not None:
            # Only our own messages are made for the public; a driver's may quote an address with its password.
            return HealthStatus.UNHEALTHY, error.message if isinstance(error, CallboardError) else type(error).__name__
        answer = asked.result()
        return (HealthStatus.HEALTHY, None) if answer is None else (HealthStatus.DEGRADED, answer.reason)


def _check_as_dict(check: CheckResult) -> dict[str, Any]:
    shown: dict[str, Any] = {"status": str(check.status), "latency_ms": check.latency_ms}
    return shown if check.reason is None else {**shown, "reason": check.reason}
