"""Units of work: the pinned forms of MCP servers' tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, select, update
from sqlalchemy.dialects import postgresql, sqlite

from callboard.errors import ConflictError, NotFoundError
from callboard.messaging.events import Actor
from callboard.state.database import one_statement
from callboard.state.mcp_tools import OfferedTool, PinnedTool
from callboard.state.models import mcp_tools
from callboard.state.sql.answering import audit


@one_statement
def pinned(connection: Connection, tenant: str, agent: str | None, server: str | None) -> list[PinnedTool]:
    query = select(mcp_tools).where(mcp_tools.c.tenant == tenant)
    if agent is not None:
        query = query.where(mcp_tools.c.agent == agent)
    if server is not None:
        query = query.where(mcp_tools.c.server == server)
    rows = connection.execute(query.order_by(mcp_tools.c.agent, mcp_tools.c.server, mcp_tools.c.tool))
    return [_pinned(row) for row in rows.mappings()]


def record(
    connection: Connection, tenant: str, agent: str, server: str, offered: Sequence[OfferedTool], now: datetime
) -> list[PinnedTool]:
    """Pins what is new, puts what has changed on record as offered; all pins of the server as they are then."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    key = {"tenant": tenant, "agent": agent, "server": server}
    for tool in sorted(offered, key=lambda each: each.name):
        shown = json.dumps(tool.shown)
        connection.execute(
            dialect.insert(mcp_tools)
            .values(**key, tool=tool.name, digest=tool.digest, shown=shown, seen_at=now)
            .on_conflict_do_nothing()
        )
        at = _at(tenant, agent, server, tool.name)
        same = mcp_tools.c.digest == tool.digest
        connection.execute(update(mcp_tools).where(*at, same).values(offered_digest=None, offered=None))
        connection.execute(update(mcp_tools).where(*at, ~same).values(offered_digest=tool.digest, offered=shown))
    return pinned(connection, tenant, agent, server)


def approve(
    connection: Connection,
    tenant: str,
    agent: str,
    server: str,
    tool: str,
    digest: str | None,
    actor: Actor,
    now: datetime,
) -> PinnedTool:
    at = _at(tenant, agent, server, tool)
    found = connection.execute(select(mcp_tools).where(*at).with_for_update()).mappings().first()
    name = f"tool {tool!r} of MCP server {server!r}"
    if found is None:
        raise NotFoundError(
            f"agent {agent} has never seen {name}: `callboard mcp list {agent}` shows what there is", code="no_tool"
        )
    if found["offered_digest"] is None:
        raise ConflictError(f"{name} has not changed: there is nothing to approve", code="tool_unchanged")
    if digest is not None and digest != found["offered_digest"]:
        raise ConflictError(
            f"{name} has changed once more since you looked: see `callboard mcp list {agent}`", code="tool_changed"
        )
    connection.execute(
        update(mcp_tools)
        .where(*at)
        .values(
            digest=found["offered_digest"],
            shown=found["offered"],
            offered_digest=None,
            offered=None,
            approved_by=actor.id[:200],
            approved_at=now,
        )
    )
    details = {"server": server, "tool": tool, "digest": found["offered_digest"], "before": found["digest"]}
    audit(connection, actor, "mcp.approve", agent, details, now)
    row = connection.execute(select(mcp_tools).where(*at)).mappings().one()
    return _pinned(row)


def _at(tenant: str, agent: str, server: str, tool: str) -> tuple[ColumnElement[bool], ...]:
    return (
        mcp_tools.c.tenant == tenant,
        mcp_tools.c.agent == agent,
        mcp_tools.c.server == server,
        mcp_tools.c.tool == tool,
    )


def _pinned(row: RowMapping) -> PinnedTool:
    offered = row["offered"]
    return PinnedTool(
        agent=row["agent"],
        server=row["server"],
        tool=row["tool"],
        digest=row["digest"],
        shown=json.loads(row["shown"]),
        seen_at=row["seen_at"],
        approved_by=row["approved_by"],
        approved_at=row["approved_at"],
        offered_digest=row["offered_digest"],
        offered=None if offered is None else json.loads(offered),
    )
