"""The MCP servers that one version of an agent names, joined with its other tools for each execution."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import JsonValue

from callboard.agents.tools.mcp.server_settings import McpServerSettings, server_settings, unique_labels
from callboard.agents.tools.mcp.tool_source import McpToolSource
from callboard.agents.tools.tool import ToolSet
from callboard.config.tool_settings import ToolSettings


class AgentServers:
    """`join` before each execution of a run: what servers offer may have changed since the last one."""

    def __init__(
        self,
        source: McpToolSource,
        entries: Sequence[tuple[ToolSettings, McpServerSettings]],
        *,
        agent: str,
        tenant: str = "default",
    ) -> None:
        self._source = source
        self._entries = tuple(entries)
        self._agent = agent
        self._tenant = tenant

    async def join(self, tools: ToolSet) -> ToolSet:
        """The set with the servers' tools, each under the settings of its entry in the file.

        A server that cannot be used leaves stand-ins that say so. Raises UnavailableError where that leaves the agent
        without a single tool. Takes 30 seconds at most for each server, all at a time.
        """
        if not self._entries:
            return tools
        servers = [server for _, server in self._entries]
        found = await self._source.tools(servers, tenant=self._tenant, agent=self._agent, alone=not tools.names())
        return tools.plus(
            [(tool, settings) for (settings, _), its in zip(self._entries, found, strict=True) for tool in its]
        )

    def why_unavailable(self) -> str | None:
        """The reason for people why one of the servers cannot be used in this process; None where each may be tried.
        Nothing is connected for it."""
        reasons = (self._source.why_unusable(server) for _, server in self._entries)
        return next((reason for reason in reasons if reason is not None), None)


class AgentServersMaker:
    """Makes the servers of an agent from the `tools` of its file."""

    def __init__(
        self, source: McpToolSource, resolve_secrets: Callable[[Mapping[str, JsonValue]], Mapping[str, JsonValue]]
    ) -> None:
        self._source = source
        self._resolve_secrets = resolve_secrets

    def make(self, agent: str, tools: Sequence[ToolSettings], tenant: str = "default") -> AgentServers:
        """Connects nothing yet. Raises InvalidInputError: a secret that is not set, two servers of one name."""
        entries = [(tool, server_settings(tool, self._resolve_secrets)) for tool in tools if tool.mcp is not None]
        unique_labels(tuple(server for _, server in entries))
        return AgentServers(self._source, entries, agent=agent, tenant=tenant)
