"""What a client may send: strict, every unknown field an error."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from callboard.messaging.events import EventPriority

Text = Annotated[str, Field(min_length=1, max_length=200)]


class Body(BaseModel):
    """A request's JSON object."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class InvokeBody(Body):
    """Work for an agent. The same `idempotency_key` with the same body is the same task.

    A `dry_run` does nothing in the world: what it would have done is told with its result.
    """

    agent: Text
    input: Annotated[str | dict[str, Any], Field(description="A text, or an object the agent is given as JSON.")]
    idempotency_key: Text | None = None
    conversation_id: Text | None = None
    priority: EventPriority = EventPriority.NORMAL
    context: dict[str, Any] | None = None
    dry_run: bool = False


class AnswerBody(Body):
    """An answer; `clarification_id` is needed only where a run has several open questions.

    An approval takes true, false, or an object: `approved`, with `arguments` to approve other ones, or with a `reason`.
    `answered_by` is a label for people: what counts is who was authenticated.
    """

    answer: Any
    clarification_id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None
    comment: Annotated[str, Field(max_length=4000)] | None = None
    answered_by: Text | None = None


class RerunBody(Body):
    """From which step on a plan is done once more; `input` in place of what the plan gives that step."""

    from_step: Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    input: str | dict[str, Any] | None = None


class ReplayBody(Body):
    """What a replay changes: the agent's version, the model as PROVIDER/MODEL, where in its plan it begins."""

    agent_version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    model: Text | None = None
    from_step: Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")] | None = None


class ApproveToolBody(Body):
    """Which tool of which MCP server an agent may use as it is now. `digest` names the form that was looked at."""

    agent: Text
    server: Text
    tool: Text
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class RememberBody(Body):
    """An entry of an agent's memory. Without a conversation it is for all that share one memory."""

    key: Text
    value: Any
    conversation_id: Text | None = None


class ForgetBody(Body):
    """Which entries: those that fit all that is given."""

    key: Text | None = None
    conversation_id: Text | None = None
    run_id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None


class ClearMemoryBody(Body):
    """Which conversation; else all."""

    conversation_id: Text | None = None


class RollbackBody(Body):
    """Without a version: the one before the version in force."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None


class ValidateBody(Body):
    """An agent file's text."""

    source: Annotated[str, Field(max_length=1024 * 1024)]
    path: Annotated[str, Field(min_length=1, max_length=500)] = "agent.yaml"


class ScheduleBody(Body):
    """One schedule of the agent by its id, or (pause, resume) all of them."""

    schedule: Text | None = None
