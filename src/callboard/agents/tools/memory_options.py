"""The `with` of `remember` and `recall`, and the scope that they come to."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from callboard.agents.memory_scope import scope_named
from callboard.agents.tools.tool import ToolContext, ToolError
from callboard.config.definition import Conversation
from callboard.state.memories import MAX_ENTRIES, MOST_ENTRIES


class MemoryOptions(BaseModel):
    """`scope`: with whom entries are shared, in place of the agent's `conversation`; `max_entries` in one scope."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scope: Conversation | None = None
    max_entries: int = Field(default=MAX_ENTRIES, ge=1, le=MOST_ENTRIES)

    def scope_of(self, context: ToolContext) -> str:
        """Raises ToolError where nobody can be told from anybody else."""
        scope = context.memory_scope
        if self.scope is not None:
            scope = scope_named(self.scope, context.actor, context.conversation_id)
        if scope is None:
            raise ToolError("this memory is kept for each person, and for whom this task is done is not known")
        return scope
