"""`GET /runs/{run_id}/events`: what a run does, as it happens (INTERFACE.md, section 3)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import StreamingResponse

from callboard.errors import InvalidInputError, NotFoundError
from callboard.integrations.http_api.context import InContext, known_id
from callboard.integrations.http_api.documents import answers
from callboard.integrations.http_api.progress_feed import ProgressFeed

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def progress_routes(prefix: str) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/runs", tags=["runs"])
    router.get("/{run_id}/events", response_class=StreamingResponse, **answers(200, None, 404))(watch)
    return router


async def watch(
    context: InContext,
    request: Request,
    run_id: str,
    last_event_id: Annotated[str | None, Header()] = None,
    after: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
) -> StreamingResponse:
    """Server-sent events, each with the number of its line as id; the last one is `end` and carries the result."""
    context.may("run.read", run_id)
    queries = context.services.queries
    if await queries.find(known_id(run_id, "run"), tenant=context.tenant) is None:
        raise NotFoundError(f"there is no run {run_id}")
    start = after if after is not None else _number(last_event_id)
    feed: ProgressFeed = request.app.state.feed
    feed.reserve()
    return StreamingResponse(
        feed.stream(run_id, start, tenant=context.tenant), media_type="text/event-stream", headers=_HEADERS
    )


def _number(header: str | None) -> int:
    if not header:
        return 0
    if not (header.isascii() and header.isdigit() and len(header) <= 9):
        raise InvalidInputError(f"Last-Event-ID {header[:80]!r} is no line's number", field="last-event-id")
    return int(header)
