"""A tool of an MCP server as an agent's tool, and what stands in its place when it cannot be used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue

from callboard.agents.tools.mcp.answers import answer_text
from callboard.agents.tools.mcp.remote_tools import RemoteTool
from callboard.agents.tools.mcp.server_settings import McpServerSettings
from callboard.agents.tools.mcp.session import FaultKind, McpFault
from callboard.agents.tools.mcp.supervised_server import SupervisedServer
from callboard.agents.tools.tool import ToolContext, ToolError, ToolTraits
from callboard.ids import derive_id
from callboard.logs import current_trace
from callboard.tracing import format_traceparent

GRACE_SECONDS = 10.0
"""A call's own limit knows whether the request had gone out, so the engine's comes after it."""
IDEMPOTENCY_KEY = "callboard/idempotency-key"
_MAX_ERROR_CHARS = 4000

TRAITS = ToolTraits(reads_untrusted=True, sends_out=True)
"""Of every tool of a server: it is somebody else's, whatever it says of itself."""

StillPinned = Callable[[RemoteTool], Awaitable[str | None]]
"""Why the tool may not be called now, None when it may; raises McpFault. Asked before each call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class McpTool:
    """One tool of a server that is there, in the form that was shown to the model."""

    remote: RemoteTool
    server: SupervisedServer
    settings: McpServerSettings
    refusal: StillPinned

    @property
    def name(self) -> str:
        return self.remote.model_name

    @property
    def description(self) -> str:
        return self.remote.description or f"{self.remote.name} of {self.settings.described}"

    @property
    def parameters(self) -> Mapping[str, JsonValue]:
        return self.remote.parameters

    @property
    def idempotent(self) -> bool:
        return self.settings.idempotent or (self.settings.trust_hints and self.remote.idempotent)

    @property
    def timeout_seconds(self) -> float:
        return self.settings.timeout_seconds + GRACE_SECONDS

    @property
    def traits(self) -> ToolTraits:
        return replace(
            TRAITS,
            described_by=None if self.settings.trust_hints else self.settings.label,
            only_reads=self.settings.trust_hints and self.remote.read_only,
        )

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        try:
            result = await self._result(arguments, context)
        except McpFault as fault:
            raise _tool_error(self.settings, fault, harmless=self.idempotent) from None
        try:
            return await answer_text(self.remote.model_name, result, context.artifacts)
        except ToolError as error:
            said = error.message[:_MAX_ERROR_CHARS]
            raise ToolError(f"{self.remote.name} of {self.settings.described} failed: {said}") from None

    async def _result(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> Mapping[str, JsonValue]:
        """Within the server's time and, if that is less, the call's: the fault names the server, which the engine's
        own limit would not."""
        most = self.settings.timeout_seconds + GRACE_SECONDS / 2
        limit = most if context.seconds_left is None else min(most, 0.95 * context.seconds_left)
        kind = FaultKind.UNSENT
        loop = asyncio.get_running_loop()
        end = loop.time() + limit
        try:
            async with asyncio.timeout_at(end):
                refused = await self.refusal(self.remote)
                if refused is not None:
                    raise ToolError(refused)
                kind = FaultKind.TIMED_OUT
                patience = min(self.settings.timeout_seconds, 0.95 * (end - loop.time()))
                return await self.server.call(self.remote.name, arguments, _meta(context), patience)
        except TimeoutError:
            raise McpFault(f"did not answer within {limit:g} s", kind) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingTool:
    """Stands for a tool that cannot be offered now. A call says why, or is made after all when the server is back:
    `again` gives the tool, or raises ToolError."""

    name: str
    description: str
    again: Callable[[], Awaitable[McpTool]]
    settings: McpServerSettings

    @property
    def parameters(self) -> Mapping[str, JsonValue]:
        return {"type": "object"}

    @property
    def idempotent(self) -> bool:
        return self.settings.idempotent

    @property
    def timeout_seconds(self) -> float:
        return 2 * self.settings.timeout_seconds + GRACE_SECONDS

    @property
    def traits(self) -> ToolTraits:
        return TRAITS

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        return await (await self.again()).call(arguments, context)


def unreachable(settings: McpServerSettings, fault: McpFault) -> ToolError:
    """For a server that could not be asked what it offers: nothing has happened."""
    return ToolError(f"{settings.described} {fault.message}")


def _tool_error(settings: McpServerSettings, fault: McpFault, *, harmless: bool) -> ToolError:
    return ToolError(f"{settings.described} {fault.message}", outcome_unknown=fault.may_have_happened and not harmless)


def _meta(context: ToolContext) -> dict[str, JsonValue]:
    """What a server may use to recognise a repeated call, and to join the trace."""
    meta: dict[str, JsonValue] = {IDEMPOTENCY_KEY: context.idempotency_key}
    trace_id = current_trace()
    if trace_id:
        meta["traceparent"] = format_traceparent(trace_id, derive_id(context.idempotency_key)[:16])
    return meta
