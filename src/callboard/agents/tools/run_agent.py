"""`run_agent`: hands a task to another agent. The engine carries it out, by a run that this one waits for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from callboard.agents.tools.registry import ToolFactory, ToolOptions
from callboard.agents.tools.tool import Tool, ToolContext, ToolError, ToolTraits
from callboard.agents.tools.tool_options import read_options

RUN_AGENT = "run_agent"
MAX_TASK_CHARS = 100_000


class RunAgentOptions(BaseModel):
    """`agents`: whom tasks may be handed to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agents: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)


class RunAgent:
    """`agents` are those that a task may be handed to, as the agent file names them."""

    name = RUN_AGENT
    idempotent = True
    timeout_seconds = 60.0
    traits = ToolTraits()

    def __init__(self, agents: tuple[str, ...]) -> None:
        self.agents = agents
        self.description = (
            f"Hand a task to another agent and wait for its answer. The agents are: {', '.join(agents)}. The other "
            f"agent knows nothing but the task: write all that it needs."
        )
        self.parameters: Mapping[str, JsonValue] = {
            "type": "object",
            "properties": {
                "agent": {"type": "string", "enum": list(agents)},
                "task": {"type": "string", "minLength": 1, "maxLength": MAX_TASK_CHARS},
            },
            "required": ["agent", "task"],
            "additionalProperties": False,
        }

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        raise ToolError(f"{RUN_AGENT} needs an engine that can hand tasks on")


def run_agent_tool(options: ToolOptions) -> Tool:
    """Raises InvalidInputError without `agents`."""
    return RunAgent(tuple(dict.fromkeys(read_options(RUN_AGENT, RunAgentOptions, options).agents)))


RUN_AGENT_FACTORY: Mapping[str, ToolFactory] = {RUN_AGENT: run_agent_tool}
