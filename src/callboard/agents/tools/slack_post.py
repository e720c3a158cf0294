"""`slack_post`: a message to a channel, through the same ledger as every answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from callboard.agents.tools.registry import ToolFactory, ToolOptions
from callboard.agents.tools.tool import Tool, ToolContext, ToolError, ToolTraits
from callboard.agents.tools.tool_options import read_options
from callboard.ids import derive_id
from callboard.logs import current_trace
from callboard.messaging.reply import ReplyTo
from callboard.state.deliveries import DeliveryDraft

_CHANNEL = r"^(?:#[\w.-]{1,80}|[CDG][A-Z0-9]{5,})$"
HERE = "here"


class Post(Protocol):
    """Where messages to Slack are planned; somebody else sends them, in their order for each thread."""

    async def plan(self, drafts: Sequence[DeliveryDraft]) -> int:
        """How many were new: a draft with an id that is known already changes nothing. UnavailableError."""
        ...


class SlackPostOptions(BaseModel):
    """`channels` are all that the agent may post to, beside the place it was called from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: tuple[Annotated[str, Field(pattern=_CHANNEL)], ...] = Field(default=(), max_length=100)


class SlackPostTools:
    """Makes the tool for any agent."""

    def __init__(self, post: Post) -> None:
        self._post = post

    def factories(self) -> dict[str, ToolFactory]:
        """By tool name, for the registry."""
        return {"slack_post": self._make}

    def _make(self, options: ToolOptions) -> Tool:
        return SlackPost(self._post, read_options("slack_post", SlackPostOptions, options))


class SlackPost:
    """Plans the message; the responder sends it, in the channel's order and at Slack's pace.

    The message's id follows from the call's, so that a repetition plans nothing new.
    """

    name = "slack_post"
    idempotent = True
    timeout_seconds = 15.0

    def __init__(self, post: Post, options: SlackPostOptions) -> None:
        self._post = post
        self._channels = options.channels
        places = ", ".join((HERE, *options.channels))
        self.description = f"Post a message to Slack. channel is one of: {places} (here is where the task came from)."
        # Only what leaves for other channels than the requester's own carries data away.
        self.traits = ToolTraits(sends_out=bool(options.channels), only_reads=False)
        self.parameters: Mapping[str, JsonValue] = {
            "type": "object",
            "properties": {
                "text": {"type": "string", "minLength": 1, "maxLength": 20_000},
                "channel": {"type": "string", "enum": [HERE, *options.channels]},
            },
            "required": ["text"],
            "additionalProperties": False,
        }

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        channel = str(arguments.get("channel", HERE))
        await self._post.plan(
            [
                DeliveryDraft(
                    id=derive_id("slack_post", context.idempotency_key),
                    kind="notice",
                    target=self._target(channel, context),
                    trace_id=current_trace() or "",
                    run_id=context.run_id,
                    body={"text": str(arguments["text"])},
                    tenant=context.tenant,
                )
            ]
        )
        return f"The message is on its way to {channel}."

    def _target(self, channel: str, context: ToolContext) -> ReplyTo:
        if channel != HERE:
            if channel not in self._channels:
                raise ToolError(f"{channel} is not on this agent's list of channels")
            return ReplyTo(channel=channel, mode="channel", team=None)
        if context.reply_to is None:
            raise ToolError("this task did not come from Slack: name one of the channels")
        return context.reply_to
