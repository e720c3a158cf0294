"""The pinned tools of MCP servers, as verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from callboard.clock import Clock
from callboard.messaging.events import Actor
from callboard.state.database import Database
from callboard.state.mcp_tools import OfferedTool, PinnedTool
from callboard.state.sql import mcp_tools

REMEMBERED_SECONDS = 60.0


class McpToolStore:
    """Pins are the database's; that the same form was found pinned is remembered for a minute."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._fitting: dict[tuple[str, str, str], tuple[float, frozenset[tuple[str, str]]]] = {}

    async def check(
        self, tenant: str, agent: str, server: str, offered: Sequence[OfferedTool]
    ) -> Mapping[str, datetime]:
        """The tools that differ from their pin, with the time since which that holds; new ones are pinned."""
        key = (tenant, agent, server)
        forms = frozenset((tool.name, tool.digest) for tool in offered)
        at, known = self._fitting.get(key, (0.0, frozenset()))
        if forms <= known and self._clock.monotonic() - at < REMEMBERED_SECONDS:
            return {}
        pinned = {pin.tool: pin for pin in await self.pinned(agent, server, tenant=tenant)}
        if any(_news(tool, pinned.get(tool.name)) for tool in offered):
            unit = partial(
                mcp_tools.record, tenant=tenant, agent=agent, server=server, offered=offered, now=self._clock.now()
            )
            pinned = {pin.tool: pin for pin in await self._database.write(unit, repeatable=True)}
        changed = {tool.name: pin.holds_since for tool in offered if (pin := pinned[tool.name]).digest != tool.digest}
        self._fitting[key] = (
            self._clock.monotonic(),
            frozenset((name, digest) for name, digest in forms if name not in changed),
        )
        return changed

    async def pinned(
        self, agent: str | None = None, server: str | None = None, *, tenant: str = "default"
    ) -> Sequence[PinnedTool]:
        """By agent, server and tool."""
        return await self._database.read(partial(mcp_tools.pinned, tenant=tenant, agent=agent, server=server))

    async def approve(
        self, agent: str, server: str, tool: str, actor: Actor, *, digest: str | None = None, tenant: str = "default"
    ) -> PinnedTool:
        """The form that the server offers is the pinned one from now on; on record with the actor.

        Raises NotFoundError for a tool that was never seen, and ConflictError where it has not changed, or where what
        is offered is no longer what `digest` names: whoever approves must have seen it.
        """
        return await self._database.write(
            partial(
                mcp_tools.approve,
                tenant=tenant,
                agent=agent,
                server=server,
                tool=tool,
                digest=digest,
                actor=actor,
                now=self._clock.now(),
            )
        )


def _news(tool: OfferedTool, pin: PinnedTool | None) -> bool:
    """Whether there is something to write down."""
    if pin is None:
        return True
    return pin.offered_digest != (None if tool.digest == pin.digest else tool.digest)
