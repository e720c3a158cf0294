"""A person asks for a chart in Slack and sees it under the answer."""

from __future__ import annotations

import pytest

from tests.flows.test_slack_files import FILES, PAINTER, PNG, names, settled, with_files
from tests.support.system import Callboard

pytestmark = pytest.mark.slow


async def test_flow_a_chart_comes_into_the_thread_of_the_answer_that_names_it(callboard: Callboard) -> None:
    await callboard.write("painter", PAINTER.replace("REPLY", "thread"))
    async with callboard.person() as anna:
        sent = await anna.mention("painter draw it")
        answer = await anna.answer_to(sent)
        assert "image: Sold.png\ndata: Sold.json" in answer.shown
        assert "2 files to follow" in answer.shown
        assert "artifact:" not in answer.shown
        assert await anna.following(answer) == tuple(with_files(callboard.slack))
    picture, data = with_files(callboard.slack)
    assert [(m.channel, m.thread_ts) for m in (picture, data)] == [(sent.channel, sent.ts)] * 2
    assert names(callboard.slack) == FILES
    assert (picture.files[0].body or b"").startswith(PNG)
    assert b'"sold"' in (data.files[0].body or b"")
    assert callboard.slack.messages.index(answer) < callboard.slack.messages.index(picture)
    assert await settled(callboard) == [("result", "sent", None), ("file", "sent", None), ("file", "sent", None)]
