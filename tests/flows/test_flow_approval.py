"""A call that people are asked about: approved, changed, rejected, or left until it is too late."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.system import Callboard
from tests.support.tool_server import ToolServer
from tests.support.waiting import wait_until

SENDER = """
name: sender
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {call: {tool: http_post, args: {url: "URL/calls", body: "{input}"}}, say: "It said: {result}"}
tools:
  - name: http_post
    APPROVAL
"""
ASK = "approval: ask"


@pytest.fixture
def callboard(callboard_in_world: Callboard) -> Callboard:
    return callboard_in_world


async def _sender(callboard: Callboard, world: ToolServer, approval: str) -> None:
    await callboard.write("sender", SENDER.replace("URL", world.url).replace("APPROVAL", approval))


async def _question(callboard: Callboard, task: str) -> dict[str, Any]:
    async def asked() -> Any:
        found = (await callboard.get("clarifications", status="asked"))["clarifications"]
        return next((question for question in found if question["task_id"] == task), None)

    question: dict[str, Any] = await wait_until(asked, "somebody is asked")
    return question


async def _answer(callboard: Callboard, question: dict[str, Any], answer: Any) -> None:
    await callboard.post(f"clarifications/{question['clarification_id']}/answer", answer=answer)


async def test_flow_approval_of_a_call_that_is_then_made_once(callboard: Callboard, world: ToolServer) -> None:
    await _sender(callboard, world, ASK)
    task = await callboard.invoke("sender", "hello world")
    question = await _question(callboard, task)
    assert question["purpose"] == "approval"
    assert question["tool"] == "http_post"
    assert question["arguments"] == {"url": f"{world.url}/calls", "body": "hello world"}
    assert world.calls == []
    status = await callboard.get(f"agents/status/{task}")
    assert status["waiting_for"]["kind"] == "approval"
    await callboard.restart()  # nothing of the waiting is in the process
    await _answer(callboard, question, True)
    result = await callboard.ended(task)
    assert result["output"] == "It said: noted hello world"
    assert [call.body for call in world.calls] == ["hello world"]


async def test_flow_approval_with_changed_arguments_carries_those_out(callboard: Callboard, world: ToolServer) -> None:
    await _sender(callboard, world, ASK)
    task = await callboard.invoke("sender", "fire everybody")
    question = await _question(callboard, task)
    edited = {**question["arguments"], "body": "thank everybody"}
    await _answer(callboard, question, {"approved": True, "arguments": edited})
    result = await callboard.ended(task)
    assert [call.body for call in world.calls] == ["thank everybody"]
    assert "a person changed the arguments" in result["output"]
    assert "noted thank everybody" in result["output"]


async def test_flow_rejection_with_a_reason_is_told_to_the_model(callboard: Callboard, world: ToolServer) -> None:
    await _sender(callboard, world, ASK)
    task = await callboard.invoke("sender", "hello")
    question = await _question(callboard, task)
    await _answer(callboard, question, {"approved": False, "reason": "not on a Saturday"})
    result = await callboard.ended(task)
    assert "rejected this call, because: not on a Saturday" in result["output"]
    assert world.calls == []


async def test_flow_approval_that_nobody_gives_is_told_as_expired(callboard: Callboard, world: ToolServer) -> None:
    await _sender(callboard, world, ASK + "\n    questions: {deadline_seconds: 0.3}")
    task = await callboard.invoke("sender", "hello")
    result = await callboard.ended(task)
    assert "expired: nobody answered before the deadline" in result["output"]
    assert "rejected" not in result["output"]
    assert world.calls == []


async def test_flow_denied_call_is_never_made_whatever_the_model_says(callboard: Callboard, world: ToolServer) -> None:
    rules = 'rules: [{when: {body: "(?i)password"}, approval: deny}]'
    await _sender(callboard, world, rules)
    denied = await callboard.ended(await callboard.invoke("sender", "the Password is 123"))
    assert "http_post is not allowed here: its argument body fits the rule" in denied["output"]
    assert world.calls == []
    made = await callboard.ended(await callboard.invoke("sender", "the weather is fine"))
    assert made["output"] == "It said: noted the weather is fine"


async def test_the_trace_shows_thought_action_observation_and_who_decided(
    callboard: Callboard, world: ToolServer
) -> None:
    await _sender(callboard, world, ASK)
    task = await callboard.invoke("sender", "hello")
    await _answer(callboard, await _question(callboard, task), True)
    result = await callboard.ended(task)
    run = await callboard.get(f"runs/{task}")
    story = json.dumps(await callboard.get(f"traces/{run['trace_id']}"))
    assert result["status"] == "succeeded"
    for wanted in ("approval", "noted hello", "http_post", "input_tokens"):
        assert wanted in story
