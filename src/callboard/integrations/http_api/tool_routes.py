"""The tools that agents may use, over HTTP: built in, and the project's own with what is wrong with their files."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastapi import APIRouter

from callboard.config.tool_listing import ListedTool
from callboard.integrations.http_api.context import InContext
from callboard.integrations.http_api.documents import answers
from callboard.integrations.http_api.json_body import StrictJsonRoute
from callboard.integrations.http_api.replies import JsonReply


def tool_routes(prefix: str) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/tools", tags=["tools"], route_class=StrictJsonRoute)
    router.get("", **answers(200, None))(list_available_tools)
    return router


async def list_available_tools(context: InContext) -> JsonReply:
    """By name; `problems` are those of the files in `tools/`, whose last good versions go on."""
    context.may("tools.list")
    listing = context.services.tools()
    return JsonReply(
        {
            "tools": [_shape(tool) for tool in listing.tools],
            "problems": [dataclasses.asdict(problem) for problem in listing.problems],
        }
    )


def _shape(tool: ListedTool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "kind": "built-in" if tool.file is None else "project",
        "file": tool.file,
        "line": tool.line,
        "description": tool.description,
        "parameters": tool.parameters,
        "idempotent": tool.idempotent,
        "timeout_seconds": tool.timeout_seconds,
        "reads_untrusted": tool.reads_untrusted,
        "sends_out": tool.sends_out,
        "needs": tool.needs,
    }
