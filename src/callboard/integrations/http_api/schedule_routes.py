"""Schedules over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from callboard.integrations.http_api import shapes
from callboard.integrations.http_api.bodies import ScheduleBody
from callboard.integrations.http_api.context import InContext, PageSize, agent_ever, existing_agent
from callboard.integrations.http_api.documents import answers
from callboard.integrations.http_api.json_body import StrictJsonRoute
from callboard.integrations.http_api.replies import JsonReply

AgentFilter = Annotated[str | None, Query(max_length=200)]
ScheduleName = Annotated[str | None, Query(max_length=200, pattern=r"^[\w.-]+$")]


def schedule_routes(prefix: str) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/schedules", tags=["schedules"], route_class=StrictJsonRoute)
    router.get("", **answers(200, None, 404))(list_schedules)
    router.get("/history", **answers(200, None, 404))(history)
    router.get("/{agent}/preview", **answers(200, None, 404))(preview)
    router.post("/{agent}/run", **answers(202, None, 404))(run)
    router.post("/{agent}/pause", **answers(200, None, 404))(pause)
    router.post("/{agent}/resume", **answers(200, None, 404))(resume)
    return router


async def list_schedules(context: InContext, agent: AgentFilter = None) -> JsonReply:
    """Every schedule with its coming times and what came last."""
    context.may("schedule.list")
    if agent is not None:
        existing_agent(context, agent)
    listing = await context.services.schedules.listing(agent)
    return JsonReply({"schedules": [each.to_record() for each in listing]})


async def history(
    context: InContext,
    agent: AgentFilter = None,
    schedule: ScheduleName = None,
    before: AwareDatetime | None = None,
    limit: PageSize = 50,
) -> JsonReply:
    """What became of the times that were named: fired, caught up, skipped, missed; newest first."""
    context.may("schedule.list")
    if agent is not None:
        await agent_ever(context, agent)
    entered = await context.services.schedules.history(agent, schedule, before=before, limit=limit)
    return JsonReply({"occurrences": [shapes.occurrence(each) for each in entered]})


async def preview(
    context: InContext,
    agent: str,
    schedule: ScheduleName = None,
    count: Annotated[int, Query(ge=1, le=1000)] = 10,
    start: AwareDatetime | None = None,
) -> JsonReply:
    """The coming times, with what changes of the clocks do to them."""
    context.may("schedule.list", agent)
    existing_agent(context, agent)
    found = context.services.schedules.preview(agent, schedule, count=count, start=start)
    return JsonReply(
        {
            "previews": [
                {
                    "schedule_id": named.schedule_id,
                    "times": [{"local": _local(line.local), "utc": line.utc, "note": line.note} for line in lines],
                }
                for named, lines in found
            ]
        }
    )


async def run(context: InContext, agent: str, body: ScheduleBody | None = None) -> JsonReply:
    """Fires a schedule now; its own times stay as they are."""
    context.may("schedule.run", agent)
    existing_agent(context, agent)
    name = body.schedule if body is not None else None
    fired = await context.services.schedules.run_now(agent, name, actor=context.actor)
    return JsonReply(shapes.occurrence(fired), status_code=202)


async def pause(context: InContext, agent: str, body: ScheduleBody | None = None) -> JsonReply:
    """What comes due is skipped until it is resumed."""
    context.may("schedule.pause", agent)
    existing_agent(context, agent)
    ids = await context.services.schedules.pause(agent, body.schedule if body is not None else None)
    return JsonReply({"schedules": list(ids), "paused": True})


async def resume(context: InContext, agent: str, body: ScheduleBody | None = None) -> JsonReply:
    """The next time fires again."""
    context.may("schedule.pause", agent)
    existing_agent(context, agent)
    ids = await context.services.schedules.resume(agent, body.schedule if body is not None else None)
    return JsonReply({"schedules": list(ids), "paused": False})


def _local(instant: datetime) -> str:
    """In the schedule's zone, with its offset."""
    return instant.isoformat()
