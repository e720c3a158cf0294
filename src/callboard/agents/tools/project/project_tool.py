"""One tool of a project, as it is at the moment of a call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue, TypeAdapter, ValidationError

from callboard.agents.tools.child import ChildRunner
from callboard.agents.tools.project.forms import ToolFile, ToolForm
from callboard.agents.tools.tool import ToolContext, ToolError, ToolTraits
from callboard.logs import StructuredLogger

_CALL = "callboard.agents.tools.project.inside:call"
MEMORY_BYTES = 4 * 1024 * 1024 * 1024
"""Of addresses, which libraries reserve generously: it stops what would take the machine, no more."""

_ANSWER = TypeAdapter(dict[Literal["result", "refused", "failed"], str])


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectTool:
    """The tool protocol over a form, its code and the options of one agent. Each call has a process of its own."""

    file: ToolFile
    form: ToolForm
    options: Mapping[str, JsonValue]
    runner: ChildRunner
    log: StructuredLogger

    @property
    def name(self) -> str:
        return self.form.name

    @property
    def description(self) -> str:
        return self.form.description

    @property
    def parameters(self) -> Mapping[str, JsonValue]:
        return self.form.parameters

    @property
    def idempotent(self) -> bool:
        return self.form.idempotent

    @property
    def timeout_seconds(self) -> float:
        return self.form.timeout_seconds

    @property
    def traits(self) -> ToolTraits:
        return ToolTraits(
            reads_untrusted=self.form.reads_untrusted,
            sends_out=self.form.sends_out,
            # An idempotent one may well change something, once: a dry run must not.
            only_reads=self.form.only_reads,
        )

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        """Raises ToolError; the outcome is known where the function was not entered, or said that it did nothing."""
        if self.options and not self.form.takes_options:
            raise ToolError(f"{self.name} takes no options: remove `with` from the agent file")
        order: dict[str, JsonValue] = {
            **self.file.order(),
            "function": self.form.function,
            "arguments": dict(arguments),
            "options": dict(self.options) if self.form.takes_options else None,
        }
        seconds = context.seconds_left or self.timeout_seconds

        def printed(text: str) -> None:
            self.log.debug("a tool printed", run_id=context.run_id, agent_id=context.agent, tool=self.name, text=text)

        try:
            text = await self.runner.run(
                _CALL, order, cpu_seconds=math.ceil(seconds) + 1, memory_bytes=MEMORY_BYTES, printed=printed
            )
            answer = _ANSWER.validate_json(text)
        except ToolError as error:
            told = error.message.replace(_CALL, self.name)
            raise ToolError(told, outcome_unknown=not self.idempotent) from None
        except ValidationError:
            told = f"{self.name} gave an answer that cannot be read"
            raise ToolError(told, outcome_unknown=not self.idempotent) from None
        if "refused" in answer:
            raise ToolError(f"{self.name}: {answer['refused']}")
        if "failed" in answer:
            raise ToolError(f"{self.name} failed: {answer['failed']}", outcome_unknown=not self.idempotent)
        return answer.get("result", "")
