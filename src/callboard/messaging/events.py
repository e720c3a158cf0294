"""The event: everything that happens, in the one shape that the bus, the database and the API share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, Self

import orjson
from pydantic import TypeAdapter, ValidationError

from callboard.errors import InvalidInputError

SCHEMA_VERSION = 1
MAX_HOPS = 20
"""An event that descends from this many others is refused: two agents that answer each other stop here."""


class EventPriority(StrEnum):
    """`low` goes to the batch lane; the others are interactive."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    CRITICAL = "critical"


class EventType(StrEnum):
    """The family of an event, its topic's coarse half."""

    SLACK_COMMAND = "slack.command"
    SLACK_MESSAGE = "slack.message"
    SLACK_MENTION = "slack.mention"
    SLACK_ACTION = "slack.action"
    SLACK_VIEW = "slack.view"
    SCHEDULED_TASK = "scheduled.task"
    API_INVOKE = "api.invoke"
    AGENT_INPUT = "agent.input"
    AGENT_OUTPUT = "agent.output"
    AGENT_STATUS = "agent.status"
    RUN_STATUS = "run.status"
    COLLABORATION_COMPLETED = "collaboration.completed"
    CLARIFICATION = "clarification"
    CONFIG = "config"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who caused something: `kind` is user, agent, schedule, api or system; `via` the border it came through."""

    kind: str
    id: str
    team: str | None = None
    via: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. Equal `event_id` means the same event, whoever delivers it and however often.

    `causation_id` is the event that led to this one, `hops` how many such steps lie behind it, `retry_count` how
    often the bus has delivered it before. `timestamp` is aware and in UTC. `payload` is JSON.
    """

    event_id: str
    event_type: str
    topic: str
    timestamp: datetime
    trace_id: str
    actor: Actor
    payload: dict[str, Any]
    causation_id: str | None = None
    conversation_id: str | None = None
    priority: EventPriority = EventPriority.NORMAL
    retry_count: int = 0
    hops: int = 0
    schema_version: int = SCHEMA_VERSION
    tenant: str = "default"

    def to_json(self) -> bytes:
        """The bytes that travel; `from_json` gives back an equal event."""
        return orjson.dumps(self, option=orjson.OPT_UTC_Z)

    @staticmethod
    def from_json(data: bytes) -> Event:
        """Raises InvalidInputError for anything that is not an event of a schema version known here."""
        try:
            event = _adapter().validate_json(data)
        except ValidationError as error:
            raise InvalidInputError(
                f"not an event: {error.error_count()} problem(s), first: {error.errors()[0]['msg']}"
            ) from error
        if event.schema_version > SCHEMA_VERSION:
            raise InvalidInputError(
                f"event {event.event_id} has schema version {event.schema_version}; this release knows up to "
                f"{SCHEMA_VERSION}: upgrade the consumer first"
            )
        return event

    def redelivered(self) -> Self:
        """The same event on its next delivery."""
        return replace(self, retry_count=self.retry_count + 1)


@cache
def _adapter() -> TypeAdapter[Event]:
    return TypeAdapter(Event)
