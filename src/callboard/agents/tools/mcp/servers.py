"""The MCP servers that this process is connected with."""

from __future__ import annotations

import asyncio

from callboard.agents.tools.mcp.server_settings import McpServerSettings
from callboard.agents.tools.mcp.session import OpenSession
from callboard.agents.tools.mcp.supervised_server import START_SECONDS, SupervisedServer
from callboard.clock import Clock

_MANY = 100


class McpServers:
    """One connection for each (tenant, settings), shared by all agents of the tenant."""

    def __init__(self, open_session: OpenSession, clock: Clock, *, start_seconds: float = START_SECONDS) -> None:
        self._open = open_session
        self._clock = clock
        self._start_seconds = start_seconds
        self._servers: dict[tuple[str, str], SupervisedServer] = {}

    def get(self, settings: McpServerSettings, tenant: str) -> SupervisedServer:
        """Connects nothing yet."""
        key = (tenant, settings.connection_key)
        found = self._servers.get(key)
        if found is None:
            self._forget_those_at_rest()
            found = SupervisedServer(settings, self._open, self._clock, start_seconds=self._start_seconds)
            self._servers[key] = found
        return found

    async def close(self) -> None:
        """Ends every server; what they have started ends with them."""
        servers, self._servers = list(self._servers.values()), {}
        await asyncio.gather(*(server.close() for server in servers))

    def _forget_those_at_rest(self) -> None:
        if len(self._servers) >= _MANY:
            self._servers = {key: server for key, server in self._servers.items() if not server.at_rest}
