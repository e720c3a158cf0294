"""Pinned tools of MCP servers over HTTP: what agents use, what has changed and waits for a person's look."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from callboard.integrations.http_api.bodies import ApproveToolBody
from callboard.integrations.http_api.context import InContext, agent_ever
from callboard.integrations.http_api.documents import answers
from callboard.integrations.http_api.json_body import StrictJsonRoute
from callboard.integrations.http_api.replies import JsonReply
from callboard.state.mcp_tools import PinnedTool


def mcp_routes(prefix: str) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/mcp/tools", tags=["mcp"], route_class=StrictJsonRoute)
    router.get("", **answers(200, None, 404))(list_tools)
    router.post("/approve", **answers(200, None, 404, 409))(approve_tool)
    return router


async def list_tools(context: InContext, agent: str | None = None) -> JsonReply:
    """By agent, server and tool; one that has changed shows both of its forms."""
    context.may("mcp.list", agent or "*")
    if agent is not None:
        await agent_ever(context, agent)
    pinned = await context.services.mcp_tools.pinned(agent, tenant=context.tenant)
    return JsonReply({"tools": [_shape(tool) for tool in pinned]})


async def approve_tool(context: InContext, body: ApproveToolBody) -> JsonReply:
    """The form that the server offers now holds from now on; with `digest`, only if it is still that one."""
    context.may("mcp.approve", body.agent)
    approved = await context.services.mcp_tools.approve(
        body.agent, body.server, body.tool, context.actor, digest=body.digest, tenant=context.tenant
    )
    return JsonReply(_shape(approved))


def _shape(tool: PinnedTool) -> dict[str, Any]:
    return {
        "agent": tool.agent,
        "server": tool.server,
        "tool": tool.tool,
        "status": "changed" if tool.changed else "pinned",
        "digest": tool.digest,
        "form": tool.shown,
        "seen_at": tool.seen_at,
        "approved_by": tool.approved_by,
        "approved_at": tool.approved_at,
        "offered_digest": tool.offered_digest,
        "offered_form": tool.offered,
    }
