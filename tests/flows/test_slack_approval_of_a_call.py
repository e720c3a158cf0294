"""A call that waits for a person in Slack, in a whole system: over restarts, with changes, and where nobody looks."""

from __future__ import annotations

import json

import pytest

from callboard.integrations.slack_wire import Person
from tests.support.system import Callboard
from tests.support.waiting import wait_until

CLERK = """
name: clerk
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {call: {tool: run_python, args: {code: "6 * 7"}}, say: "It is {result}."}
slack: {commands: [/clerk]}
tools:
  - name: run_python
    approval: ask
    questions: QUESTIONS
"""
BERT = Person(id="U0BERT", name="bert")


async def closed(callboard: Callboard, channel: str, ts: str, words: str) -> None:
    def says_so() -> bool:
        now = callboard.slack.workspace.find(channel, ts)
        return not now.buttons and words in now.shown

    await wait_until(says_so, f"the question says: {words}")


@pytest.mark.slow
async def test_G7_an_approval_is_given_in_slack_after_a_restart_of_everything_by_who_may(callboard: Callboard) -> None:
    await callboard.write("clerk", CLERK.replace("QUESTIONS", "{may_answer: [U0ANNA]}"))
    async with callboard.person() as anna, callboard.person(BERT) as bert:
        await anna.command("/clerk calculate")
        question = await callboard.message(lambda message: bool(message.buttons), "the question")
        assert '"code": "6 * 7"' in question.shown
        (run,) = await callboard.runs_of("clerk")
        assert (await callboard.get(f"agents/status/{run['run_id']}"))["waiting_for"]["kind"] == "approval"

        await callboard.restart()
        await bert.click(question, "Approve", person=BERT)
        told = await callboard.message(lambda message: message.visible_to == BERT.id, "bert is told")
        assert "for U0ANNA to answer" in told.text
        refused = await callboard.call("POST", f"/api/v1/agents/approve/{run['run_id']}", json={"answer": True})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "may_not_answer")

        await anna.click(question, "Edit…")
        form = callboard.slack.workspace.views[-1]
        labels = [block["label"]["text"] for block in form["blocks"] if block["type"] == "input"]
        assert labels[0] == "code"
        await anna.fill({"code": "7 * 7"})
        answer = await callboard.message(lambda message: message.text.startswith("It is"), "the answer")
    assert "49" in answer.text
    await closed(callboard, question.channel, question.ts, "Approved with the arguments above by anna")


@pytest.mark.slow
async def test_an_approval_that_nobody_gives_is_asked_for_elsewhere_and_given_there(callboard: Callboard) -> None:
    rules = '{deadline_seconds: 5, on_deadline: escalate, escalate_to: "#ops"}'
    await callboard.write("clerk", CLERK.replace("QUESTIONS", rules))
    async with callboard.person() as anna:
        await anna.command("/clerk calculate")
        question = await callboard.message(lambda message: bool(message.buttons), "the question")
        copy = await callboard.message(lambda message: message.channel == "C_OPS", "the copy", within=30.0)
        assert "asked here" in copy.shown
        await anna.click(copy, "Approve", person=BERT)
        (run,) = await callboard.runs_of("clerk")
        result = await callboard.ended(run["run_id"])
    assert "42" in result["output"]
    for message in (question, copy):
        await closed(callboard, message.channel, message.ts, "Approved by bert")


@pytest.mark.slow
async def test_changes_that_the_agent_file_denies_are_refused_in_the_form_and_over_http_and_the_question_stays_open(
    callboard: Callboard,
) -> None:
    rules = "rules: [{when: {code: 'import'}, approval: deny}]"
    await callboard.write("clerk", CLERK.replace("questions: QUESTIONS", rules))
    said = "run_python is not allowed with them: its argument code fits the rule 'import'"
    async with callboard.person() as anna:
        await anna.command("/clerk calculate")
        question = await callboard.message(lambda message: bool(message.buttons), "the question")
        await anna.click(question, "Edit…")
        sent = await anna.fill({"code": "import os"})
        reply = json.loads(sent.body)
        ((_, problem),) = reply["errors"].items()
        assert (reply["response_action"], said in problem) == ("errors", True), problem
        assert "stays open: send other arguments, approve what was asked, or reject it" in problem
        (run,) = await callboard.runs_of("clerk")
        denied = {"approved": True, "arguments": {"code": "import sys"}}
        refused = await callboard.call("POST", f"/api/v1/agents/approve/{run['run_id']}", json={"answer": denied})
        assert (refused.status_code, refused.json()["error"]["field"]) == (422, "answer")
        assert said in refused.json()["error"]["message"]
        assert (await callboard.get(f"agents/status/{run['run_id']}"))["waiting_for"]["kind"] == "approval"
        await anna.fill({"code": "7 * 7"})
        answer = await callboard.message(lambda message: message.text.startswith("It is"), "the answer")
    assert "49" in answer.text
