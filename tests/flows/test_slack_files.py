"""What an agent draws is seen in Slack, where its answer stands."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard.integrations.slack_local import LocalSlack
from callboard.integrations.slack_local_workspace import LocalMessage
from tests.support.system import Callboard, callboard_at

pytestmark = pytest.mark.slow

PAINTER = """
name: painter
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - call: {tool: chart, args: {kind: bar, title: Sold, x: [mon, tue], series: [{name: sold, values: [3, 5]}]}}
      say: "Here it is: {result}"
tools: [chart]
slack: {mentions: true, commands: [/paint], reply: REPLY}
"""
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
async def callboard(tmp_path: Path) -> AsyncIterator[Callboard]:
    async with callboard_at(tmp_path) as running:
        yield running


def with_files(slack: LocalSlack) -> list[LocalMessage]:
    return [message for message in slack.messages if message.files]


async def test_a_chart_comes_into_the_thread_of_the_answer_that_names_it(callboard: Callboard) -> None:
    await callboard.write("painter", PAINTER.replace("REPLY", "thread"))
    async with callboard.person() as anna:
        sent = await anna.mention("painter draw it")
        answer = await anna.answer_to(sent)
        assert "image: Sold.png\ndata: Sold.json" in answer.shown
        assert "2 files to follow" in answer.shown
        assert "artifact:" not in answer.shown
        await callboard.message(lambda message: "Sold.json" in str(message.files), "the data")
    picture, data = with_files(callboard.slack)
    assert [(m.channel, m.thread_ts) for m in (picture, data)] == [(sent.channel, sent.ts)] * 2
    assert [file.name for m in (picture, data) for file in m.files] == ["Sold.png", "Sold.json"]
    assert (picture.files[0].body or b"").startswith(PNG)
    assert re.search(rb'"sold"', data.files[0].body or b"")
    assert callboard.slack.messages.index(answer) < callboard.slack.messages.index(picture)
    assert [call.arguments["authorization"] for call in callboard.slack.calls_of("upload")] == [None, None]
