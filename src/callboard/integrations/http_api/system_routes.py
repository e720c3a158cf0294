"""The system over HTTP: how it is, who did what, and the OpenAPI document."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from callboard.integrations.http_api import shapes
from callboard.integrations.http_api.context import InContext, PageSize, cursor_of
from callboard.integrations.http_api.documents import answers
from callboard.integrations.http_api.json_body import StrictJsonRoute
from callboard.integrations.http_api.replies import JsonReply


def system_routes(prefix: str) -> APIRouter:
    router = APIRouter(prefix=prefix, tags=["system"], route_class=StrictJsonRoute)
    router.get("/status", **answers(200, None))(system_status)
    router.get("/operations", **answers(200, None))(list_operations)
    router.get("/openapi.json", **answers(200, None))(openapi)
    return router


async def system_status(context: InContext) -> JsonReply:
    """Health, agents, backlogs: what `callboard doctor` shows of a running system."""
    context.may("system.read")
    services = context.services
    report = await services.health.report()
    agents = await services.registry.list()
    return JsonReply(
        {
            "version": product_version(),
            "health": report.as_dict(),
            "agents": dict(Counter(agent.status.value for agent in agents)),
            "unavailable": {agent.name: agent.reason for agent in agents if agent.reason is not None},
            "rejected": len(await services.catalog.rejections()),
            "backlog": [
                {"status": each.status.value, "mode": each.mode, "lane": each.lane, "count": each.count}
                for each in await services.queries.backlog()
            ],
            "outbox": await services.queries.untold(),
            "dead_letters": await services.dead_letters.count(),
            "deliveries": await services.deliveries.counts(),
            "token_set": services.token is not None,
        }
    )


async def list_operations(
    context: InContext, cursor: Annotated[str | None, Query(max_length=40)] = None, limit: PageSize = 50
) -> JsonReply:
    """Who changed what, newest first."""
    context.may("operation.list")
    found = await context.services.queries.operations(context.tenant, cursor_of(cursor), limit + 1)
    page = found[:limit]
    more = len(found) > limit
    return JsonReply(
        {
            "operations": [shapes.operation(each) for each in page],
            "next_cursor": str(page[-1].id) if more else None,
        }
    )


async def openapi(context: InContext, request: Request) -> JsonReply:
    """This document."""
    context.may("system.read")
    return JsonReply(request.app.openapi())


def product_version() -> str:
    """The installed package's, else `0`."""
    try:
        return version("callboard")
    except PackageNotFoundError:
        return "0"
