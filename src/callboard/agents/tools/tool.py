"""The port to a tool: something an agent may do besides talking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from callboard.errors import CallboardError
from callboard.llm.provider import ToolSpec


class ToolError(CallboardError):
    """The tool did not deliver; the message is told to the model.

    `outcome_unknown`: the call may have had its effect all the same (the connection broke after the request went
    out). A tool that is not idempotent must set it unless it is certain that nothing happened.
    """

    code = "tool_error"

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """Whose call this is. `idempotency_key` is the same for every repetition of one call and differs between calls."""

    run_id: str
    agent: str
    idempotency_key: str


class Tool(Protocol):
    """One tool, configured for one agent.

    `idempotent`: repeating a call has no effect beyond the first one's; such a call is repeated without asking
    after a crash. `timeout_seconds` bounds one call; the engine cancels it then. `call` may run concurrently, gets
    arguments that fit `parameters`, returns text for the model, and raises ToolError for what went wrong outside;
    anything else is a defect and fails the attempt.
    """

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def parameters(self) -> Mapping[str, JsonValue]: ...

    @property
    def idempotent(self) -> bool: ...

    @property
    def timeout_seconds(self) -> float: ...

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str: ...


class ToolSet:
    """The tools that one run may use."""

    def __init__(self, tools: tuple[Tool, ...] = ()) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self.specs = tuple(
            ToolSpec(name=tool.name, description=tool.description, parameters=tool.parameters) for tool in tools
        )

    def get(self, name: str) -> Tool | None:
        return self._tools.get(name)

    def names(self) -> list[str]:
        return sorted(self._tools)
