"""The agent file as a record: everything that a user may say about one agent (INTERFACE.md, section 4)."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue, ValidationInfo, field_validator

from callboard.config.collaboration_settings import CollaborationSettings, PlanStep
from callboard.config.llm_settings import (
    LLMSettings,
    ModelSettings,
    Provider,
    ScriptCall,
    ScriptedError,
    ScriptQuestion,
    ScriptRule,
)
from callboard.config.question_settings import OnDeadline, QuestionSettings
from callboard.config.record import Flag, Number, Record, Whole
from callboard.config.refusal import refuse
from callboard.config.schedule_settings import SLACK_TARGET, SLACK_TARGET_CHARS, ScheduleSettings
from callboard.config.tool_settings import Approval, McpServer, ToolRule, ToolSettings
from callboard.config.topic_patterns import pattern_problem
from callboard.schema_check import schema_problem

__all__ = [
    "AgentDefinition",
    "Approval",
    "CollaborationSettings",
    "Conversation",
    "ExecutionMode",
    "LLMSettings",
    "Limits",
    "McpServer",
    "MemorySettings",
    "ModelSettings",
    "OnBusy",
    "OnDeadline",
    "PlanStep",
    "Provider",
    "QuestionSettings",
    "ReplyMode",
    "ScheduleSettings",
    "ScriptCall",
    "ScriptQuestion",
    "ScriptRule",
    "ScriptedError",
    "SlackSettings",
    "ToolRule",
    "ToolSettings",
]

AGENT_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
_COMMAND = re.compile(r"/[a-z0-9_-]{1,31}")


def _allowed_topic(pattern: str) -> str:
    problem = pattern_problem(pattern)
    if problem is not None:
        raise refuse(*problem)
    return pattern


def _slash_command(command: str) -> str:
    if not _COMMAND.fullmatch(command):
        raise refuse(
            f"'{command}' is no slash command",
            "write / and up to 31 lower-case letters, digits, - or _, such as /standup",
        )
    return command


TopicPattern = Annotated[str, AfterValidator(_allowed_topic)]
SlashCommand = Annotated[str, AfterValidator(_slash_command)]
SlackTarget = Annotated[str, Field(pattern=SLACK_TARGET, max_length=SLACK_TARGET_CHARS)]
Label = Annotated[str, Field(min_length=1, max_length=100)]


class ExecutionMode(StrEnum):
    """How an agent works; `scheduled` is an autonomous agent with a schedule."""

    COLLABORATIVE = "collaborative"
    AUTONOMOUS = "autonomous"
    CONTINUOUS = "continuous"
    SCHEDULED = "scheduled"


class ReplyMode(StrEnum):
    """Where in Slack an answer appears."""

    THREAD = "thread"
    CHANNEL = "channel"
    EPHEMERAL = "ephemeral"


class OnBusy(StrEnum):
    """What a continuous agent does with a message while it works on the one before."""

    QUEUE = "queue"
    REJECT = "reject"
    INTERRUPT = "interrupt"


class Conversation(StrEnum):
    """What a continuous agent's memory belongs to."""

    AGENT = "agent"
    THREAD = "thread"
    USER = "user"


class SlackSettings(Record):
    """How the agent is reached from Slack and how it answers there."""

    commands: tuple[SlashCommand, ...] = ()
    mentions: Flag = False
    channels: tuple[SlackTarget, ...] = ()
    reply: ReplyMode = ReplyMode.THREAD
    on_busy: OnBusy = OnBusy.QUEUE


class Limits(Record):
    """What a run of this agent may take; `timeout_seconds` counts the running time of one attempt, `max_tokens` what
    all its model calls read and write together."""

    timeout_seconds: Number = Field(default=300.0, gt=0, le=86_400)
    max_attempts: Whole = Field(default=3, ge=1, le=20)
    max_concurrency: Whole | None = Field(default=None, ge=1, le=10_000)
    max_tool_calls: Whole = Field(default=50, ge=0, le=10_000)
    max_model_calls: Whole = Field(default=100, ge=1, le=10_000)
    max_tokens: Whole | None = Field(default=None, ge=1)
    max_cost_usd: Number | None = Field(default=None, gt=0)
    daily_cost_usd: Number | None = Field(default=None, gt=0)


class MemorySettings(Record):
    """When a conversation's older messages are replaced by a summary for the model; all of them are kept."""

    summarise_above_tokens: Whole = Field(default=16_000, ge=200)
    keep_messages: Whole = Field(default=20, ge=2, le=200)


class AgentDefinition(Record):
    """One agent, complete. Its identity is its name; the version it has is the catalog's business."""

    name: str = Field(pattern=AGENT_NAME)
    description: str = ""
    agent_type: str = Field(min_length=1, max_length=100)
    capabilities: tuple[Label, ...] = ()
    execution_mode: ExecutionMode
    llm_config: LLMSettings
    instructions: str = ""
    subscriptions: tuple[TopicPattern, ...] = ()
    slack: SlackSettings = SlackSettings()
    conversation: Conversation = Conversation.AGENT
    schedules: tuple[ScheduleSettings, ...] = Field(default=(), validate_default=True)
    tools: tuple[ToolSettings, ...] = ()
    output_schema: dict[str, JsonValue] | None = None
    questions: QuestionSettings = QuestionSettings()
    memory: MemorySettings = MemorySettings()
    limits: Limits = Limits()
    collaboration: CollaborationSettings = CollaborationSettings()
    examples: tuple[str, ...] = ()

    @property
    def mode(self) -> ExecutionMode:
        """The pool that runs it: never `scheduled`, which is a trigger and no pool."""
        scheduled = self.execution_mode is ExecutionMode.SCHEDULED
        return ExecutionMode.AUTONOMOUS if scheduled else self.execution_mode

    @field_validator("schedules")
    @classmethod
    def _schedules(cls, schedules: tuple[ScheduleSettings, ...], info: ValidationInfo) -> tuple[ScheduleSettings, ...]:
        if not schedules and info.data.get("execution_mode") is ExecutionMode.SCHEDULED:
            raise refuse("a scheduled agent needs schedules", 'add schedules: [{cron: "0 9 * * MON-FRI"}]')
        return schedules

    @field_validator("output_schema")
    @classmethod
    def _a_schema(cls, schema: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        problem = None if schema is None else schema_problem(schema)
        if problem is not None:
            raise refuse(problem, "write a JSON Schema of one object, such as {type: object, properties: {…}}")
        return schema

    @field_validator("collaboration")
    @classmethod
    def _not_itself(cls, collaboration: CollaborationSettings, info: ValidationInfo) -> CollaborationSettings:
        if info.data.get("name") in collaboration.members:
            raise refuse(f"'{info.data['name']}' is a member of itself", "name other agents")
        return collaboration
