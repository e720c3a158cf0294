"""A tool in a rehearsal: it gives what was recorded, reads, or says what it would have done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from callboard.agents.engines.notes import arguments_text
from callboard.agents.engines.text_limits import clipped
from callboard.agents.stage import CARRIED_OUT, NOT_CARRIED_OUT, RECORDED, WOULD_DO, Stage
from callboard.agents.tools.run_agent import RunAgent
from callboard.agents.tools.tool import Tool, ToolContext, ToolError, ToolSet, ToolTraits

_TOLD_CHARS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedTool:
    """To the engine it is idempotent: nothing of it has to be remembered before it is called."""

    tool: Tool
    stage: Stage
    reads: bool
    idempotent: bool = True

    @property
    def name(self) -> str:
        return self.tool.name

    @property
    def description(self) -> str:
        return self.tool.description

    @property
    def parameters(self) -> Mapping[str, JsonValue]:
        return self.tool.parameters

    @property
    def timeout_seconds(self) -> float:
        return self.tool.timeout_seconds

    @property
    def traits(self) -> ToolTraits:
        return self.tool.traits

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        recorded = self.stage.recorded(self.name, arguments)
        if recorded is not None:
            self.stage.made(context.idempotency_key, RECORDED, arguments)
            if recorded.failed:
                raise ToolError(recorded.text)
            return recorded.text
        if self.reads and not self.stage.was_asked_about(self.name, arguments):
            self.stage.made(context.idempotency_key, CARRIED_OUT, arguments)
            return await self.tool.call(arguments, context)
        self.stage.made(context.idempotency_key, WOULD_DO, arguments)
        return f"{NOT_CARRIED_OUT}: {self.name} with {clipped(arguments_text(arguments), _TOLD_CHARS)}"


def rehearsed_tools(tools: ToolSet, stage: Stage) -> ToolSet:
    """All of them on the stage; a task is handed on as ever, for the run that takes it is a rehearsal too."""
    found = []
    settings = {}
    for spec in tools.specs:
        tool, said = tools.get(spec.name), tools.settings(spec.name)
        assert tool is not None  # noqa: S101  # a set has what it specifies
        override = said.idempotent
        reads = only_reads(tool, idempotent=tool.idempotent if override is None else override)
        found.append(tool if isinstance(tool, RunAgent) else RehearsedTool(tool=tool, stage=stage, reads=reads))
        settings[spec.name] = said.model_copy(update={"idempotent": None})
    return ToolSet(tuple(found), settings)


def only_reads(tool: Tool, *, idempotent: bool) -> bool:
    """As the tool says; of one that does not say so, what may be repeated and carries nothing out."""
    if tool.traits.only_reads is not None:
        return tool.traits.only_reads
    return idempotent and not tool.traits.sends_out
