"""MCP servers of agents: the connector is loaded when the first of them is used, for it takes most of a second."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from callboard.agents.tools.mcp.command_policy import CommandPolicy
from callboard.agents.tools.mcp.server_settings import McpServerSettings
from callboard.agents.tools.mcp.servers import McpServers
from callboard.agents.tools.mcp.session import McpSession, OpenSession
from callboard.agents.tools.resolver import SystemResolver
from callboard.agents.tools.safe_url import UrlPolicy
from callboard.clock import Clock
from callboard.settings import Settings

_CONNECTOR = "callboard.agents.tools.mcp.sdk_session"


def make_mcp_servers(settings: Settings, environment: Mapping[str, str], clock: Clock) -> McpServers:
    """None is connected before it is used; whoever calls this closes them."""
    commands = CommandPolicy(frozenset(settings.mcp_commands), environment)
    return McpServers(_LateConnector(settings, commands, clock), clock, commands=commands)


class _LateConnector:
    """An OpenSession that becomes one when it is first called."""

    def __init__(self, settings: Settings, commands: CommandPolicy, clock: Clock) -> None:
        self._settings = settings
        self._commands = commands
        self._clock = clock
        self._connector: OpenSession | None = None

    def __call__(
        self, settings: McpServerSettings, on_changed: Callable[[], None]
    ) -> AbstractAsyncContextManager[McpSession]:
        return self._open(settings, on_changed)

    @contextlib.asynccontextmanager
    async def _open(self, settings: McpServerSettings, on_changed: Callable[[], None]) -> AsyncIterator[McpSession]:
        if self._connector is None:
            # In a thread: everything else goes on meanwhile.
            adapter = await asyncio.to_thread(importlib.import_module, _CONNECTOR)
            self._connector = adapter.SdkConnector(
                urls=UrlPolicy(permitted=frozenset(self._settings.http_allow)),
                commands=self._commands,
                resolver=SystemResolver(),
                tls=ssl.create_default_context,
                clock=self._clock,
            )
        async with self._connector(settings, on_changed) as session:
            yield session
