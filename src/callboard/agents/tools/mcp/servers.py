"""The MCP servers that this process is connected with."""

from __future__ import annotations

import asyncio

from callboard.agents.tools.mcp.command_policy import CommandPolicy
from callboard.agents.tools.mcp.server_settings import McpServerSettings
from callboard.agents.tools.mcp.session import McpFault, OpenSession
from callboard.agents.tools.mcp.supervised_server import START_SECONDS, SupervisedServer
from callboard.clock import Clock

_MANY = 100


class McpServers:
    """One connection for each (tenant, settings), shared by all agents of the tenant."""

    def __init__(
        self,
        open_session: OpenSession,
        clock: Clock,
        *,
        commands: CommandPolicy | None = None,
        start_seconds: float = START_SECONDS,
    ) -> None:
        """`commands` is what `open_session` starts programs by: with it a server can be judged before it is used."""
        self._open = open_session
        self._clock = clock
        self._commands = commands
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

    def fault(self, settings: McpServerSettings) -> McpFault | None:
        """What keeps the server from being tried at all until somebody changes this machine; None for nothing."""
        if self._commands is None or not settings.command:
            return None
        try:
            self._commands.program(settings.command[0])
        except McpFault as fault:
            return fault
        return None

    async def close(self) -> None:
        """Ends every server; what they have started ends with them."""
        servers, self._servers = list(self._servers.values()), {}
        await asyncio.gather(*(server.close() for server in servers))

    def _forget_those_at_rest(self) -> None:
        if len(self._servers) >= _MANY:
            self._servers = {key: server for key, server in self._servers.items() if not server.at_rest}
