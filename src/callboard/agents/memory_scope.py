"""With whom a run shares what it remembers (DESIGN.md, R12; RELIABILITY.md, H10 and I5); pure."""

from __future__ import annotations

from callboard.config.definition import AgentDefinition, Conversation, ExecutionMode
from callboard.messaging.events import Actor
from callboard.state.runs import Run

EVERYBODY = "agent"
"""The scope of what an agent remembers for all."""


def memory_scope(definition: AgentDefinition, run: Run) -> str | None:
    """As the file's `conversation` says: of a continuous agent it is the conversation that it is in."""
    if definition.mode is ExecutionMode.CONTINUOUS:
        return conversation_of_run(run)
    return scope_named(definition.conversation, run.actor, run.conversation_id)


def conversation_of_run(run: Run) -> str:
    """The conversation that a run of a continuous agent is in."""
    return run.conversation_id or ExecutionMode.CONTINUOUS.value


def scope_named(kind: Conversation, actor: Actor | None, conversation_id: str | None) -> str | None:
    """None where the scope is a person's and no person is known: then nothing may be shared with anybody."""
    match kind:
        case Conversation.AGENT:
            return EVERYBODY
        case Conversation.THREAD:
            return conversation_id or EVERYBODY
        case Conversation.USER:
            if actor is None or actor.kind == "agent":
                return None
            return f"user:{actor.team or ''}:{actor.id}"
