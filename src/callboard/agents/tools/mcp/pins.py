"""The port to the digests by which the tools of MCP servers are known: what was seen first, or approved by a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from callboard.state.mcp_tools import OfferedTool


class ToolPins(Protocol):
    """Kept for (tenant, agent, server, tool), over restarts and for all processes."""

    async def check(
        self, tenant: str, agent: str, server: str, offered: Sequence[OfferedTool]
    ) -> Mapping[str, datetime]:
        """The tools that are not what they were, each with the time since which the pinned form holds.

        A tool that was never seen is pinned as it is. One that differs from its pin is put on record as offered, so
        that a person can look at it and approve it. Repeating a call changes nothing.
        """
        ...
