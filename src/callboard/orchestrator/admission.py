"""How a run enters the queue: its lane, its rank, its turn and its places (DESIGN.md, R5, R6, R10, R12); pure."""

from __future__ import annotations

from callboard.config.definition import AgentDefinition, Conversation, ExecutionMode
from callboard.messaging import topology
from callboard.messaging.events import Event, EventPriority
from callboard.orchestrator.reply_target import thread_of
from callboard.state.runs import RANKS, Admission, Lane, agent_place_key

ONE_CONVERSATION = "agent"
"""The conversation of an agent whose memory is not divided."""


def admit(event: Event, definition: AgentDefinition, conversation_id: str | None) -> Admission:
    """Slack and the API are interactive, schedules and `low` are batch; conversations and threads take turns."""
    priority = event.priority
    if event.topic.startswith(topology.SCHEDULED) and priority is EventPriority.NORMAL:
        priority = EventPriority.LOW
    places = definition.limits.max_concurrency
    return Admission(
        lane=Lane.BATCH if priority is EventPriority.LOW else Lane.INTERACTIVE,
        rank=RANKS[priority],
        order_key=_order_key(event, definition, conversation_id),
        place_key=agent_place_key(definition.name, places),
        places=places,
    )


def conversation_of(event: Event, definition: AgentDefinition) -> str | None:
    """What a continuous agent's memory belongs to; for other agents only what the caller named."""
    # Slack names the thread of every message; whether that divides the memory is for the agent's file to say.
    named = event.conversation_id is not None and not event.topic.startswith("slack.")
    if named or definition.mode is not ExecutionMode.CONTINUOUS:
        return event.conversation_id
    if definition.conversation is Conversation.THREAD:
        return thread_of(event) or ONE_CONVERSATION
    if definition.conversation is Conversation.USER:
        return f"user:{event.actor.team or ''}:{event.actor.id}"
    return ONE_CONVERSATION


def _order_key(event: Event, definition: AgentDefinition, conversation_id: str | None) -> str | None:
    if definition.mode is ExecutionMode.CONTINUOUS:
        return f"{definition.name}/{conversation_id}"
    thread = thread_of(event)
    return None if thread is None else f"{definition.name}/thread:{thread}"
