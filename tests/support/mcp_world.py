"""MCP servers for tests, and what connects to them as Callboard does."""

from __future__ import annotations

import contextlib
import json
import ssl
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from callboard.agents.tools.mcp.command_policy import CommandPolicy
from callboard.agents.tools.mcp.pins import ToolPins
from callboard.agents.tools.mcp.sdk_session import SdkConnector
from callboard.agents.tools.mcp.server_settings import McpServerSettings
from callboard.agents.tools.mcp.servers import McpServers
from callboard.agents.tools.mcp.supervised_server import START_SECONDS
from callboard.agents.tools.mcp.tool_source import McpToolSource
from callboard.agents.tools.resolver import Resolver, SystemResolver
from callboard.agents.tools.safe_url import UrlPolicy
from callboard.agents.tools.tool import Tool, ToolContext
from callboard.clock import Clock, SystemClock
from callboard.state.mcp_tools import OfferedTool

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"text": {"type": "string"}}}


def listed(name: str, description: str = "", schema: Any = None, **more: Any) -> dict[str, Any]:
    """An entry of a server's listing."""
    return {"name": name, "description": description or f"does {name}", "inputSchema": schema or SCHEMA, **more}


class NoPins:
    """Where nothing is kept: every tool is what it says it is."""

    async def check(
        self, tenant: str, agent: str, server: str, offered: Sequence[OfferedTool]
    ) -> Mapping[str, datetime]:
        return {}


@dataclass(frozen=True)
class Script:
    """The server of `mcp_script`, with its folder."""

    folder: Path

    @property
    def command(self) -> tuple[str, ...]:
        return (sys.executable, "-S", str(Path(__file__).with_name("mcp_script.py")), str(self.folder))

    def offers(self, *tools: dict[str, Any]) -> None:
        (self.folder / "tools.json").write_text(json.dumps(tools))

    def can_become(self, *tools: dict[str, Any]) -> None:
        """What it offers after a call of `swap`."""
        (self.folder / "other.json").write_text(json.dumps(tools))

    @property
    def pids(self) -> list[int]:
        return [int(line) for line in _lines(self.folder / "starts")]

    @property
    def calls(self) -> list[list[Any]]:
        return [json.loads(line) for line in _lines(self.folder / "calls")]

    def settings(self, label: str = "files", **more: Any) -> McpServerSettings:
        return McpServerSettings(label=label, command=self.command, **more)


def script_at(folder: Path, *tools: dict[str, Any]) -> Script:
    folder.mkdir(parents=True, exist_ok=True)
    made = Script(folder)
    made.offers(*tools)
    return made


@dataclass
class KeptArtifacts:
    """In memory, in order."""

    kept: list[tuple[str, str, bytes]] = field(default_factory=list)

    async def keep(self, name: str, media_type: str, body: bytes) -> str:
        self.kept.append((name, media_type, body))
        return f"artifact:{len(self.kept)}"

    async def read(self, reference: str) -> tuple[str, bytes]:
        _, media_type, body = self.kept[int(reference.removeprefix("artifact:")) - 1]
        return media_type, body


class QuickClock(SystemClock):
    """Real time, but whoever wants to sleep is soon woken."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.01))


def context(artifacts: KeptArtifacts | None = None) -> ToolContext:
    return ToolContext(
        run_id="r" * 32, agent="worker", idempotency_key="k" * 32, artifacts=artifacts or KeptArtifacts()
    )


@dataclass(frozen=True)
class McpHouse:
    """What a process has of MCP."""

    servers: McpServers
    source: McpToolSource

    async def tools(self, *settings: McpServerSettings, agent: str = "worker", **more: Any) -> dict[str, Tool]:
        found = await self.source.tools(settings, tenant="default", agent=agent, **more)
        return {tool.name: tool for tools in found for tool in tools}


@contextlib.asynccontextmanager
async def mcp_house(
    *,
    permitted: frozenset[str] = frozenset(),
    commands: frozenset[str] = frozenset({sys.executable}),
    pins: ToolPins | None = None,
    clock: Clock | None = None,
    listing_seconds: float = 0.0,
    resolver: Resolver | None = None,
    http: bool = False,
    start_seconds: float = START_SECONDS,
) -> AsyncIterator[McpHouse]:
    clock = clock or SystemClock()
    connector = SdkConnector(
        urls=UrlPolicy(permitted=permitted, http=http),
        commands=CommandPolicy(commands),
        resolver=resolver or SystemResolver(),
        tls=lambda: ssl.create_default_context(),
        clock=clock,
    )
    servers = McpServers(connector, clock, start_seconds=start_seconds)
    try:
        yield McpHouse(servers, McpToolSource(servers, pins or NoPins(), listing_seconds=listing_seconds))
    finally:
        await servers.close()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
