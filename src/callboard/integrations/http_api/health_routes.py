"""`GET /health` and `GET /metrics`, for any role's port (INTERFACE.md, section 3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from callboard.clock import Clock
from callboard.errors import CallboardError
from callboard.health import HealthChecks
from callboard.integrations.http_api.replies import JsonReply
from callboard.logs import StructuredLogger
from callboard.metrics import CONTENT_TYPE, Metrics
from callboard.state.query_store import QueryStore
from callboard.state.runs import Lane

Refresh = Callable[[], Awaitable[None]]
"""Brings the gauges up to date; asked before each scrape."""

GAUGES_SECONDS = 4.0
"""So old may the numbers from the database be: less than between two scrapes of one Prometheus."""
MODES = ("autonomous", "collaborative", "continuous")


def health_routes(
    health: HealthChecks, metrics: Metrics | None = None, refresh: Refresh | None = None
) -> Sequence[Route]:
    """`/health`, and `/metrics` where there are any; they hold no secret and ask for no token."""
    log = StructuredLogger("health")

    async def answer_health(request: Request) -> Response:
        report = await health.report()
        return JsonReply(report.as_dict(), status_code=200 if report.healthy else 503)

    if metrics is None:
        return [Route("/health", answer_health)]

    async def answer_metrics(request: Request) -> Response:
        if refresh is not None:
            try:
                await refresh()
            except CallboardError as error:
                log.warning("some metrics are not up to date", reason=error.message)
        return Response(metrics.exposition(), media_type=None, headers={"Content-Type": CONTENT_TYPE})

    return [Route("/health", answer_health), Route("/metrics", answer_metrics)]


def gauges(queries: QueryStore, metrics: Metrics, clock: Clock) -> Refresh:
    """Reads from the database what a process cannot count by itself, at most every few seconds, whoever asks."""
    read_at = float("-inf")

    async def refresh() -> None:
        nonlocal read_at
        if clock.monotonic() - read_at < GAUGES_SECONDS:
            return
        now = await queries.statistics()
        read_at = clock.monotonic()
        for mode in MODES:
            metrics.set_runs_running(mode=mode, count=now.running.get(mode, 0))
            for lane in Lane:
                metrics.set_runs_queued(mode=mode, lane=lane.value, count=now.queued.get((mode, lane.value), 0))
        for state in await queries.providers():
            if state.has_breaker:
                metrics.set_breaker_open(provider=state.name, is_open=state.open_until is not None)
        metrics.set_dead_letters(now.dead_letters)
        since = now.untold_since
        metrics.set_outbox_oldest(0.0 if since is None else max(0.0, (clock.now() - since).total_seconds()))

    return refresh
