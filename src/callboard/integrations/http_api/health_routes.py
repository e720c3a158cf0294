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
from callboard.state.dead_letter_store import DeadLetterStore
from callboard.state.query_store import QueryStore
from callboard.state.runs import Lane, RunStatus

Refresh = Callable[[], Awaitable[None]]
"""Brings the gauges up to date; asked before each scrape."""

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


def gauges(queries: QueryStore, dead_letters: DeadLetterStore, metrics: Metrics, clock: Clock) -> Refresh:
    """Reads from the database what a process cannot count by itself."""

    async def refresh() -> None:
        backlog = await queries.backlog()
        waiting = {(each.mode, each.lane): each.count for each in backlog if each.status is RunStatus.QUEUED}
        for mode in MODES:
            running = sum(each.count for each in backlog if each.status is RunStatus.RUNNING and each.mode == mode)
            metrics.set_runs_running(mode=mode, count=running)
            for lane in Lane:
                metrics.set_runs_queued(mode=mode, lane=lane.value, count=waiting.get((mode, lane.value), 0))
        metrics.set_dead_letters(await dead_letters.count())
        oldest = await queries.oldest_untold()
        metrics.set_outbox_oldest(0.0 if oldest is None else max(0.0, (clock.now() - oldest).total_seconds()))

    return refresh
