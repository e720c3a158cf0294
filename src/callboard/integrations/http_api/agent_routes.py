"""Agents over HTTP: lists, versions, rollback, pause, and checking a file before it is used."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query

from callboard.config.agent_file import load_agent
from callboard.config.catalog import Catalog
from callboard.config.definition import ExecutionMode
from callboard.errors import ConflictError
from callboard.integrations.http_api import shapes
from callboard.integrations.http_api.bodies import RollbackBody, ValidateBody
from callboard.integrations.http_api.context import InContext, agent_ever, existing_agent, no_agent
from callboard.integrations.http_api.documents import answers
from callboard.integrations.http_api.json_body import StrictJsonRoute
from callboard.integrations.http_api.model_status import models_shown
from callboard.integrations.http_api.replies import JsonReply
from callboard.state.catalogs import CatalogHead, RejectionRecord, VersionRecord
from callboard.state.registered_agents import AgentStatus, RegisteredAgent

VersionNumber = Annotated[int | None, Query(ge=1, le=2**31 - 1)]


def agent_routes(prefix: str) -> APIRouter:
    router = APIRouter(prefix=f"{prefix}/agents", tags=["agents"], route_class=StrictJsonRoute)
    router.get("", **answers(200, None))(list_agents)
    router.post("/validate", **answers(200, None))(validate_agent)
    router.get("/{name}", **answers(200, None, 404))(show_agent)
    router.get("/{name}/history", **answers(200, None, 404))(history)
    router.get("/{name}/diff", **answers(200, None, 404))(diff)
    router.post("/{name}/rollback", **answers(200, None, 404, 409))(rollback)
    router.post("/{name}/unpin", **answers(200, None, 404, 409))(unpin)
    router.post("/{name}/pause", **answers(200, None, 404))(pause)
    router.post("/{name}/resume", **answers(200, None, 404))(resume)
    return router


async def list_agents(
    context: InContext,
    status: AgentStatus | None = None,
    type: Annotated[str | None, Query(max_length=200)] = None,  # noqa: A002  # the parameter's public name
    mode: ExecutionMode | None = None,
) -> JsonReply:
    """Every agent in force, by name; `rejected` beside them are refused files without an agent in force."""
    context.may("agent.list")
    rejections = await context.services.catalog.rejections()
    agents = await context.services.registry.list()
    chosen = [
        agent
        for agent in agents
        if status in (None, agent.status) and type in (None, agent.agent_type) and mode in (None, agent.execution_mode)
    ]
    known = {agent.name for agent in agents}
    return JsonReply(
        {
            "agents": [_agent(agent, rejections) for agent in chosen],
            "rejected": [_rejected(each) for each in rejections if each.name not in known],
        }
    )


async def show_agent(context: InContext, name: str) -> JsonReply:
    """One agent with its definition in force, how its models are, and what its runs came to."""
    context.may("agent.read", name)
    existing_agent(context, name)
    services = context.services
    agent = next((each for each in await services.registry.list() if each.name == name), None)
    if agent is None:
        raise no_agent(context, name)
    version = await services.catalog.version(name, agent.version)
    sums = await services.queries.sums(context.tenant, name)
    return JsonReply(
        {
            **_agent(agent, await services.catalog.rejections()),
            "definition": dict(version.definition),
            "source": version.source,
            "models": models_shown(
                version.definition.get("llm_config") or {},
                await services.queries.providers(context.tenant),
                services.clock.now(),
            ),
            "sums": shapes.sums(sums[0]) if sums else None,
        }
    )


async def history(context: InContext, name: str) -> JsonReply:
    """Every accepted version, newest first."""
    context.may("agent.read", name)
    await agent_ever(context, name)
    versions = await context.services.catalog.history(name)
    active = _active(await context.services.catalog.head(), name)
    return JsonReply({"name": name, "versions": [_version(each, active) for each in versions]})


async def diff(
    context: InContext,
    name: str,
    old: Annotated[VersionNumber, Query(alias="from")] = None,
    new: Annotated[VersionNumber, Query(alias="to")] = None,
) -> JsonReply:
    """What changed between two versions of the file, by default the last two, as a unified diff."""
    context.may("agent.read", name)
    await agent_ever(context, name)
    catalog = context.services.catalog
    newest = (await catalog.history(name))[0].version
    to = new if new is not None else newest
    before = old if old is not None else max(1, to - 1)
    first, second = await catalog.version(name, before), await catalog.version(name, to)
    text = await asyncio.to_thread(_unified, first, second)
    return JsonReply({"name": name, "from": before, "to": to, "diff": text})


async def rollback(context: InContext, name: str, body: RollbackBody | None = None) -> JsonReply:
    """Puts an older version in force until the file's next change or `unpin`; the file stays as it is."""
    context.may("agent.rollback", name)
    existing_agent(context, name)
    catalog = context.services.catalog
    version = body.version if body is not None else None
    if version is None:
        active = _active(await catalog.head(), name) or 1
        older = [each.version for each in await catalog.history(name) if each.version < active]
        if not older:
            raise ConflictError(f"agent {name!r} has no version before v{active}", code="no_older_version")
        version = older[0]
    return JsonReply(_in_force(await context.services.versions.rollback(name, version, context.actor), name))


async def unpin(context: InContext, name: str) -> JsonReply:
    """Ends a rollback: the newest version is in force again."""
    context.may("agent.rollback", name)
    existing_agent(context, name)
    return JsonReply(_in_force(await context.services.versions.unpin(name, context.actor), name))


async def pause(context: InContext, name: str) -> JsonReply:
    """The agent takes no new work until it is resumed."""
    context.may("agent.pause", name)
    existing_agent(context, name)
    await context.services.registry.pause(name, context.actor)
    return JsonReply({"name": name, "status": AgentStatus.PAUSED.value})


async def resume(context: InContext, name: str) -> JsonReply:
    """Takes a pause back."""
    context.may("agent.pause", name)
    existing_agent(context, name)
    await context.services.registry.resume(name, context.actor)
    return JsonReply({"name": name, "status": AgentStatus.AVAILABLE.value})


async def validate_agent(context: InContext, body: ValidateBody) -> JsonReply:
    """Every problem of an agent file, with line and column; nothing is stored."""
    context.may("agent.validate")
    known = context.services.known_tools
    file = await asyncio.to_thread(load_agent, body.source.encode(), body.path, known_tools=known)
    return JsonReply(
        {
            "valid": file.definition is not None,
            "name": file.name,
            "problems": [each.to_record() for each in file.problems],
            "warnings": [each.to_record() for each in file.warnings],
        }
    )


def _agent(agent: RegisteredAgent, rejections: Sequence[RejectionRecord]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": agent.name,
        "version": agent.version,
        "status": agent.status.value,
        "reason": agent.reason,
        "agent_type": agent.agent_type,
        "execution_mode": agent.execution_mode,
        "description": agent.description,
        "capabilities": list(agent.capabilities),
        "path": agent.path,
        "latest": agent.latest,
        "pinned": agent.pinned,
        "restarts": agent.restarts,
        "warnings": list(agent.warnings),
    }
    refused = next((each for each in rejections if each.path == agent.path), None)
    refused = refused or next((each for each in rejections if each.name == agent.name), None)
    return shown if refused is None else {**shown, "rejected": _rejected(refused)}


def _rejected(refused: RejectionRecord) -> dict[str, Any]:
    """The first problem, which is what lists show, and all of them."""
    first = refused.problems[0]
    return {
        "file": first.get("file", refused.path),
        "line": first.get("line", 1),
        "column": first.get("column", 1),
        "message": first.get("message", ""),
        "hint": first.get("hint", ""),
        "name": refused.name,
        "version": refused.version,
        "problems": [dict(each) for each in refused.problems],
        "since": refused.created_at,
    }


def _version(record: VersionRecord, active: int | None) -> dict[str, Any]:
    return {
        "version": record.version,
        "active": record.version == active,
        "digest": record.digest,
        "path": record.path,
        "warnings": list(record.warnings),
        "actor": shapes.actor(record.actor),
        "created_at": record.created_at,
    }


def _active(head: CatalogHead, name: str) -> int | None:
    return next((entry.version for entry in head.entries if entry.name == name), None)


def _in_force(catalog: Catalog, name: str) -> dict[str, Any]:
    entry = catalog.agent(name)
    return {
        "name": name,
        "version": entry.version,
        "latest": entry.latest,
        "pinned": entry.pinned,
        "catalog": catalog.number,
    }


def _unified(first: VersionRecord, second: VersionRecord) -> str:
    lines = difflib.unified_diff(
        first.source.splitlines(),
        second.source.splitlines(),
        f"{first.path} v{first.version}",
        f"{second.path} v{second.version}",
        lineterm="",
    )
    return "\n".join(lines)
