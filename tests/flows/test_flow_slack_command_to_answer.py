"""A slash command typed in Slack, to the answer that its sender sees."""

from __future__ import annotations

import pytest

from tests.support.system import Callboard
from tests.support.waiting import wait_until

GREETER = """
name: greeter
agent_type: assistant
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script: [{say: "Hello! You wrote: {input}"}]
slack: {commands: [/hello]}
"""


@pytest.mark.slow
async def test_flow_slack_command_to_answer(callboard: Callboard) -> None:
    await callboard.write("greeter", GREETER)
    async with callboard.person() as anna:
        sent = await anna.command("/hello <world> & all")
        answer = await anna.answer_to(sent)

    assert sent.status == 200
    assert answer.text == "Hello! You wrote: &lt;world&gt; &amp; all"
    (run,) = await callboard.runs_of("greeter")
    assert (run["status"], run["attempt"]) == ("succeeded", 1)
    assert run["trace_id"] in answer.shown
    assert (await callboard.get(f"agents/result/{run['run_id']}"))["output"] == "Hello! You wrote: <world> & all"

    async def told() -> bool:
        story = await callboard.get(f"traces/{run['trace_id']}")
        (event,) = story["tree"]
        (of_run,) = event["children"]
        delivered = [node["status"] for node in of_run["children"] if node["kind"] == "delivery"]
        return event["name"] == "slack.events.command.hello" and delivered == ["sent"]

    await wait_until(told, "the trace tells the whole way, from the command to the message sent")
    assert [message for message in callboard.slack.messages if message != answer] == []


@pytest.mark.slow
async def test_a_command_that_nobody_owns_is_answered_with_what_exists(callboard: Callboard) -> None:
    await callboard.write("greeter", GREETER)
    async with callboard.person() as anna:
        answer = await anna.answer_to(await anna.command("/halo"))
    assert "/halo" in answer.shown
    assert "/hello" in answer.shown
    assert answer.visible_to == "U0ANNA"
