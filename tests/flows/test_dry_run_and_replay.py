"""Dry runs and replays, from the request to what is told of them: the world outside sees nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.system import Callboard, callboard_at
from tests.support.tool_server import ToolServer, tool_server
from tests.support.waiting import wait_until

SENDER = """
name: sender
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {call: {tool: http_post, args: {url: "URL/calls", body: "BODY"}}, say: "It said: {result}"}
tools:
  - name: http_post
    APPROVAL
slack: {commands: [/send]}
"""
FETCHER = """
name: fetcher
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {call: {tool: http_get, args: {url: "URL/pages"}}, say: "Read: {result}"}
tools: [http_get]
"""
ASKER = """
name: asker
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {ask: {question: "Which city?", options: [Berlin, Paris]}, say: "You said {answer}."}
"""
KEEPER = """
name: keeper
agent_type: helper
execution_mode: continuous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {say: "turn {turn}: {input}"}
"""
BOSS = """
name: boss
agent_type: coordinator
execution_mode: collaborative
llm_config: {provider: scripted, model_id: echo}
collaboration:
  members: [sender, keeper]
  aggregate: last
  approve_plan: APPROVE
  plan:
    - {id: first, agent: sender, input: "${input}"}
    - {id: second, agent: sender, input: "after ${step.first.output}"}
"""
LISTENER = """
name: listener
agent_type: helper
execution_mode: autonomous
llm_config: {provider: scripted, model_id: echo}
subscriptions: ["agent.output.keeper", "run.succeeded.sender"]
"""


@pytest.fixture
async def world() -> AsyncIterator[ToolServer]:
    """What calls change."""
    async with tool_server() as server:
        yield server


@pytest.fixture
async def callboard(tmp_path: Path, world: ToolServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callboard]:
    """A running system whose tools reach that world."""
    monkeypatch.setenv("CALLBOARD_HTTP_ALLOW", world.authority)
    async with callboard_at(tmp_path) as running:
        yield running


async def put(callboard: Callboard, name: str, text: str, world: ToolServer, **parts: str) -> dict[str, Any]:
    for word, value in {"URL": world.url, "APPROVAL": "approval: auto", "BODY": "{input}", **parts}.items():
        text = text.replace(word, value)
    return await callboard.write(name, text)


async def replayed(callboard: Callboard, run: str, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ended replay and its comparison."""
    accepted = await callboard.post(f"runs/{run}/replay", **more)
    assert accepted["replay_of"] == run
    result = await callboard.ended(accepted["task_id"])
    return result, await callboard.get(f"runs/{accepted['task_id']}/comparison")


async def test_a_dry_run_posts_nothing_and_tells_what_it_would_have_posted(
    callboard: Callboard, world: ToolServer
) -> None:
    await put(callboard, "sender", SENDER, world)
    await put(callboard, "listener", LISTENER, world)
    task = await callboard.invoke("sender", "hello", dry_run=True)
    result = await callboard.ended(task)
    arguments = {"url": f"{world.url}/calls", "body": "hello"}
    assert result["status"] == "succeeded"
    assert result["output"].startswith("It said: dry run: not carried out: http_post with")
    assert (result["dry"], result["would_ask"]) == (True, [])
    assert result["would_do"] == [{"step": "", "tool": "http_post", "key": "/0/0", "arguments": arguments}]
    shown = await callboard.get(f"runs/{task}")
    assert (shown["dry"], shown["would_do"]) == (True, result["would_do"])
    story = await callboard.get(f"traces/{result['trace_id']}")
    (call,) = [node for node in nodes(story["tree"]) if node["kind"] == "tool"]
    assert (call["status"], call["rehearsal"]) == ("would_do", "would_do")
    again = await callboard.post(f"runs/{task}/retry")
    assert (await callboard.ended(again["task_id"]))["dry"] is True
    real = await callboard.invoke("sender", "in earnest")
    await callboard.ended(real)
    assert [call.body for call in world.calls] == ["in earnest"]

    async def heard() -> list[dict[str, Any]]:
        return await callboard.runs_of("listener")

    runs = await wait_until(heard, "somebody hears of the run in earnest")
    assert len(runs or []) == 1


def nodes(tree: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for node in tree for each in (node, *nodes(node["children"]))]
