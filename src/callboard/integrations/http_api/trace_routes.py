"""Traces over HTTP: the tree of what happened, and the log lines of it."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import Any

from fastapi import APIRouter

from callboard.errors import NotFoundError
from callboard.integrations.http_api.context import InContext, PageSize, known_id
from callboard.integrations.http_api.documents import answers
from callboard.integrations.http_api.json_body import StrictJsonRoute
from callboard.integrations.http_api.replies import JsonReply
from callboard.integrations.http_api.trace_tree import span_of, trace_tree
from callboard.logs import read_log


def trace_routes(prefix: str) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/traces", tags=["traces"], route_class=StrictJsonRoute)
    router.get("/{trace_id}", **answers(200, None, 404))(show_trace)
    router.get("/{trace_id}/logs", **answers(200, None, 404))(show_logs)
    return router


async def show_trace(context: InContext, trace_id: str) -> JsonReply:
    """Everything under one trace id: events, their runs, the runs' steps, questions and deliveries, with durations."""
    context.may("trace.read", trace_id)
    story = await context.services.queries.story(context.tenant, known_id(trace_id, "trace"))
    if story.empty:
        raise NotFoundError(f"nothing is known of trace {trace_id}")
    roots = trace_tree(story)
    span = span_of(roots)
    return JsonReply(
        {
            "trace_id": trace_id,
            "started_at": span[0] if span else None,
            "last_at": span[1] if span else None,
            "duration_ms": round((span[1] - span[0]).total_seconds() * 1000, 3) if span else None,
            "runs": len(story.runs),
            "cost_usd": sum(run.cost_usd for run in story.runs),
            "tree": [root.to_record() for root in roots],
        }
    )


async def show_logs(context: InContext, trace_id: str, limit: PageSize = 500) -> JsonReply:
    """The last lines that this process's log folder has of the trace, oldest first."""
    context.may("trace.read", trace_id)
    folder = context.services.log_folder
    if folder is None:
        raise NotFoundError("this process keeps no log folder", code="no_logs")
    # Lines of what came to nothing have no record beside them: only what is known for another tenant's is withheld.
    if await context.services.queries.belongs_elsewhere(context.tenant, known_id(trace_id, "trace")):
        raise NotFoundError(f"nothing is known of trace {trace_id}")
    lines = await asyncio.to_thread(_last_lines, folder, trace_id, limit)
    return JsonReply({"trace_id": trace_id, "lines": lines})


def _last_lines(folder: Path, trace_id: str, limit: int) -> list[dict[str, Any]]:
    return list(deque(read_log(folder, trace_id), maxlen=limit))
