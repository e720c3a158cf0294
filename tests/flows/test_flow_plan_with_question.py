"""A plan of several agents that stops for a person, to its result."""

from __future__ import annotations

from typing import Any

import pytest

from callboard.integrations.slack_wire import Person
from tests.support.system import Callboard
from tests.support.travel_team import CHOOSER, SCOUT
from tests.support.waiting import wait_until

TRIP = """
name: trip
agent_type: coordinator
execution_mode: collaborative
llm_config: {provider: scripted, model_id: echo}
collaboration:
  members: [scout, chooser]
  approve_plan: APPROVE
  plan:
    - {id: look, agent: scout, input: "${input}"}
    - {id: choose, agent: chooser, input: "Of: ${step.look.output}", depends_on: [look]}
slack: {commands: [/trip]}
"""


async def _team(callboard: Callboard, *, approve: bool = False) -> dict[str, Any]:
    await callboard.write("scout", SCOUT)
    await callboard.write("chooser", CHOOSER)
    return await callboard.write("trip", TRIP.replace("APPROVE", str(approve).lower()))


@pytest.mark.slow
async def test_flow_plan_with_question(callboard: Callboard) -> None:
    await _team(callboard)
    async with callboard.person() as anna:
        await anna.command("/trip a weekend")
        question = await callboard.message(lambda message: "Where to?" in message.text, "the question")
        assert [button["text"]["text"] for button in question.buttons] == ["Berlin", "Paris"]
        (plan,) = await callboard.runs_of("trip")
        assert plan["status"] == "waiting"

        await callboard.restart()  # nothing of the waiting is in the process
        await anna.click(question, "Paris")
        answer = await callboard.message(lambda message: message.text == "Paris", "the plan's answer")

    shown = await callboard.get(f"runs/{plan['run_id']}")
    assert (shown["status"], shown["output"]) == ("succeeded", "Paris")
    assert [(step["step_id"], step["status"]) for step in shown["steps"]] == [
        ("look", "succeeded"),
        ("choose", "succeeded"),
    ]
    assert plan["trace_id"] in answer.shown

    def closed() -> bool:
        now = callboard.slack.workspace.find(question.channel, question.ts)
        return not now.buttons and "anna" in now.shown

    await wait_until(closed, "the question lost its buttons and says who answered")
    step = shown["steps"][1]["run_id"]
    late = await callboard.call("POST", f"/api/v1/agents/approve/{step}", json={"answer": "Berlin"})
    assert late.status_code == 409
    assert "anna" in late.json()["error"]["message"]


@pytest.mark.slow
async def test_a_plan_is_shown_for_approval_and_a_yes_lets_it_run(callboard: Callboard) -> None:
    agent = await _team(callboard, approve=True)
    assert agent["warnings"] == []
    async with callboard.person() as anna:
        await anna.command("/trip a weekend")
        shown = await callboard.message(lambda message: "Shall this plan be carried out?" in message.text, "the plan")
        assert "1. look (scout)" in shown.text
        assert "2. choose (chooser)" in shown.text
        assert await callboard.runs_of("scout") == []
        await anna.click(shown, "Yes")
        question = await callboard.message(lambda message: "Where to?" in message.text, "the question of a step")
        await anna.click(question, "Berlin")
    (plan,) = await callboard.runs_of("trip")
    assert (await callboard.ended(plan["run_id"]))["output"] == "Berlin"


@pytest.mark.slow
async def test_a_plan_that_is_not_approved_starts_nothing(callboard: Callboard) -> None:
    await _team(callboard, approve=True)
    async with callboard.person(Person(id="U0BEN", name="ben")) as ben:
        await ben.command("/trip a weekend")
        shown = await callboard.message(lambda message: "Shall this plan be carried out?" in message.text, "the plan")
        await ben.click(shown, "No")
    (plan,) = await callboard.runs_of("trip")
    result = await callboard.ended(plan["run_id"])
    assert (result["status"], result["error"]["code"]) == ("failed", "plan_refused")
    assert await callboard.runs_of("scout") == []
