"""The tools that an agent has from MCP servers, as they are now: listed, checked, pinned."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from callboard.agents.tools.mcp.pins import ToolPins
from callboard.agents.tools.mcp.remote_tool import McpTool, MissingTool, unreachable
from callboard.agents.tools.mcp.remote_tools import Offer, RemoteTool, offer_of
from callboard.agents.tools.mcp.server_settings import McpServerSettings, unique_labels
from callboard.agents.tools.mcp.servers import McpServers
from callboard.agents.tools.mcp.session import FaultKind, McpFault
from callboard.agents.tools.mcp.supervised_server import Listing, SupervisedServer
from callboard.agents.tools.mcp.tool_names import SEPARATOR, model_name
from callboard.agents.tools.tool import Tool, ToolError
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.state.mcp_tools import OfferedTool

LISTING_SECONDS = 30.0
"""How old what is known of a server may be before a run, or a call, has it asked again."""

ASKING_SECONDS = 30.0
"""How long a run waits for that at most."""
_MANY = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """A listing after the check against the pins: what may be used, and what was withheld since when."""

    offer: Offer
    changed: dict[str, datetime]


class McpToolSource:
    """Cheap when nothing has changed: a listing younger than `listing_seconds` is not asked for again, and pins that
    fit are remembered. To be asked before every execution of a run."""

    def __init__(self, servers: McpServers, pins: ToolPins, *, listing_seconds: float = LISTING_SECONDS) -> None:
        self._servers = servers
        self._pins = pins
        self._listing_seconds = listing_seconds
        self._read: dict[tuple[str, str, str, tuple[str, ...]], tuple[Listing, Offer, list[OfferedTool]]] = {}
        self._told: dict[tuple[str, str], _Checked] = {}
        self._log = StructuredLogger("mcp")

    async def tools(
        self, servers: Sequence[McpServerSettings], *, tenant: str, agent: str, alone: bool = False
    ) -> tuple[tuple[Tool, ...], ...]:
        """The tools of each server, in the order of `servers`, under names that no two servers share.

        A server that cannot be used now leaves a stand-in for each tool that the file allows (one for all, without an
        allow-list), which says why when it is called. With `alone` (the agent has no other tools) UnavailableError is
        raised where no server can be used. Raises InvalidInputError for two servers of one label.
        """
        unique_labels(tuple(servers))
        sides = [_Side(self, settings, tenant, agent) for settings in servers]
        found = await asyncio.gather(*(side.tools() for side in sides))
        if alone and sides and all(side.fault is not None for side in sides):
            raise UnavailableError("; ".join(side.fault.message for side in sides if side.fault is not None))
        return tuple(tuple(tools) for tools in found)

    async def checked(self, settings: McpServerSettings, tenant: str, agent: str) -> _Checked:
        """What the server offers now, checked against the pins. Raises McpFault, and what the pins' store raises."""
        try:
            async with asyncio.timeout(ASKING_SECONDS):
                listing = await self.server(settings, tenant).listing(self._listing_seconds)
        except TimeoutError:
            raise McpFault(f"did not say within {ASKING_SECONDS:g} s what it offers", FaultKind.UNSENT) from None
        offer, offered = self._offer(settings, tenant, listing)
        changed = dict(await self._pins.check(tenant, agent, settings.label, offered))
        return _Checked(offer=offer, changed=changed)

    def _offer(self, settings: McpServerSettings, tenant: str, listing: Listing) -> tuple[Offer, list[OfferedTool]]:
        """Made once of a listing: reading hundreds of schemas takes longer than a call."""
        key = (tenant, settings.connection_key, settings.label, settings.allow)
        read = self._read.get(key)
        if read is None or read[0] is not listing:
            if len(self._read) >= _MANY:
                self._read.clear()
            offer = offer_of(settings.label, listing.entries, settings.allow)
            read = (listing, offer, [_offered(tool) for tool in offer.tools])
            self._read[key] = read
        return read[1], read[2]

    def why_unusable(self, settings: McpServerSettings) -> str | None:
        """The reason for people why no tool of the server can be had here, as far as that is known without asking it;
        None where it may be asked."""
        fault = self._servers.fault(settings)
        return None if fault is None else unreachable(settings, fault).message

    def tell(self, settings: McpServerSettings, agent: str, checked: _Checked) -> None:
        """Once for each state of things, not for each run."""
        key = (agent, settings.label)
        if self._told.get(key) == checked:
            return
        self._told[key] = checked
        for sentence in checked.offer.left_out:
            self._log.warning(f"{settings.described}: {sentence}", agent_id=agent)
        for name in checked.changed:
            self._log.warning(
                f"{settings.described}: tool {name!r} has changed and is withheld until it is approved", agent_id=agent
            )

    def failed(self, settings: McpServerSettings, agent: str, error: ToolError) -> None:
        self._log.warning("an MCP server cannot be used", agent_id=agent, server=settings.label, reason=error.message)

    def server(self, settings: McpServerSettings, tenant: str) -> SupervisedServer:
        """The one that the agents of a tenant share."""
        return self._servers.get(settings, tenant)


class _Side:
    """One server of one agent."""

    def __init__(self, source: McpToolSource, settings: McpServerSettings, tenant: str, agent: str) -> None:
        self._source = source
        self._settings = settings
        self._tenant = tenant
        self._agent = agent
        self.fault: ToolError | None = None

    async def tools(self) -> list[Tool]:
        try:
            checked = await self._source.checked(self._settings, self._tenant, self._agent)
        except McpFault as fault:
            self.fault = unreachable(self._settings, fault)
            self._source.failed(self._settings, self._agent, self.fault)
            return [self._stand_in(name) for name in self._settings.allow or (None,)]
        self._source.tell(self._settings, self._agent, checked)
        return [self._tool(checked, tool) for tool in checked.offer.tools]

    def _tool(self, checked: _Checked, tool: RemoteTool) -> Tool:
        if tool.name not in checked.changed:
            return self._usable(tool)
        # Not a word of the changed text reaches the model before a person has read it.
        return MissingTool(
            name=tool.model_name,
            description=f"Withheld: {tool.model_name} has changed and waits for an operator's approval.",
            again=lambda: self._again(tool.name),
            settings=self._settings,
        )

    def _usable(self, tool: RemoteTool) -> McpTool:
        server = self._source.server(self._settings, self._tenant)
        return McpTool(remote=tool, server=server, settings=self._settings, refusal=self._refusal)

    def _stand_in(self, name: str | None) -> MissingTool:
        label = self._settings.label
        return MissingTool(
            name=model_name(label, name) if name is not None else f"{label}{SEPARATOR}unavailable",
            description=f"{self._settings.described} cannot be used at the moment; a call says why.",
            again=lambda: self._again(name),
            settings=self._settings,
        )

    async def _again(self, name: str | None) -> McpTool:
        """The tool, if it can be had by now; raises ToolError."""
        try:
            checked = await self._source.checked(self._settings, self._tenant, self._agent)
        except McpFault as fault:
            raise unreachable(self._settings, fault) from None
        found = next((tool for tool in checked.offer.tools if tool.name == name), None)
        if found is None:
            names = ", ".join(tool.model_name for tool in checked.offer.tools) or "none"
            why = next((said for said in checked.offer.left_out if repr(name) in said), f"its tools are now: {names}")
            raise ToolError(f"{self._settings.described}: {why}")
        if found.name in checked.changed:
            raise ToolError(self._withheld(found.name, checked.changed[found.name]))
        return self._usable(found)

    async def _refusal(self, tool: RemoteTool) -> str | None:
        """Whether the tool is still what the model was shown; the server is asked where that is not known freshly."""
        checked = await self._source.checked(self._settings, self._tenant, self._agent)
        now = next((each for each in checked.offer.tools if each.name == tool.name), None)
        if now is None:
            why = next((said for said in checked.offer.left_out if repr(tool.name) in said), "")
            return f"{self._settings.described} does not offer {tool.name!r} any more{': ' if why else ''}{why}"
        if now.name in checked.changed:
            return self._withheld(now.name, checked.changed[now.name])
        if now.digest != tool.digest:
            return f"{tool.model_name} has changed while this run went on; what it does now was not shown to the run"
        return None

    def _withheld(self, name: str, since: datetime) -> str:
        approve = f"callboard mcp approve {self._agent} {self._settings.label} {name}"
        return (
            f"the tool {name!r} of {self._settings.described} changed since {since:%Y-%m-%d %H:%M} UTC, when it was "
            f"last approved or first seen, and is withheld; an operator may look at it and re-approve it with "
            f"`{approve}`"
        )


def _offered(tool: RemoteTool) -> OfferedTool:
    shown: dict[str, JsonValue] = {"description": tool.description, "parameters": dict(tool.parameters)}
    return OfferedTool(name=tool.name, digest=tool.digest, shown=shown)
