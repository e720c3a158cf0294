"""Messages that an agent posts: planned once, to the places that its file names."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pydantic import JsonValue

from callboard.agents.tools.registry import ToolBinding, ToolRegistry
from callboard.agents.tools.slack_post import SlackPostTools
from callboard.agents.tools.tool import NoArtifacts, Tool, ToolContext, ToolError
from callboard.errors import InvalidInputError
from callboard.messaging.reply import ReplyTo
from callboard.state.deliveries import DeliveryDraft

ASKED = ReplyTo(channel="C0ASKED", thread_ts="1.2")


class Planned:
    """What has been planned, by id."""

    def __init__(self) -> None:
        self.drafts: dict[str, DeliveryDraft] = {}

    async def plan(self, drafts: Sequence[DeliveryDraft]) -> int:
        self.drafts |= {draft.id: draft for draft in drafts}
        return len(drafts)


def tool(planned: Planned, **options: JsonValue) -> Tool:
    binding = ToolBinding(name="slack_post", options=options)
    made = ToolRegistry(SlackPostTools(planned).factories()).build([binding]).get("slack_post")
    assert made is not None
    return made


def context(key: str = "k1", reply_to: ReplyTo | None = ASKED) -> ToolContext:
    return ToolContext(run_id="r", agent="a", idempotency_key=key, artifacts=NoArtifacts(), reply_to=reply_to)


async def test_a_message_goes_where_the_task_came_from() -> None:
    planned = Planned()
    assert "here" in await tool(planned).call({"text": "half way"}, context())
    (draft,) = planned.drafts.values()
    assert (draft.target, draft.body, draft.run_id) == (ASKED, {"text": "half way"}, "r")


async def test_a_repeated_call_is_the_same_message() -> None:
    planned = Planned()
    for key in ("k1", "k1", "k2"):
        await tool(planned, channels=["#ops"]).call({"text": "x", "channel": "#ops"}, context(key))
    assert len(planned.drafts) == 2


async def test_other_channels_than_the_listed_ones_are_refused() -> None:
    planned = Planned()
    with pytest.raises(ToolError, match="not on this agent's list"):
        await tool(planned, channels=["#ops"]).call({"text": "x", "channel": "#all"}, context())
    assert planned.drafts == {}


async def test_a_task_from_elsewhere_has_no_here() -> None:
    with pytest.raises(ToolError, match="did not come from Slack"):
        await tool(Planned()).call({"text": "x"}, context(reply_to=None))


def test_only_posts_to_other_channels_carry_data_out() -> None:
    assert not tool(Planned()).traits.sends_out
    assert tool(Planned(), channels=["#ops"]).traits.sends_out


@pytest.mark.parametrize("channel", ["ops", "https://example.com", "#a b", ""])
def test_what_is_no_channel_is_refused_in_the_file(channel: str) -> None:
    with pytest.raises(InvalidInputError, match="channels"):
        tool(Planned(), channels=[channel])
