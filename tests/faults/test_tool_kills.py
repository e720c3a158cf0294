"""Killed in the middle of a tool call that people have approved, or that another agent carries out: what has happened
does not happen again, and what nobody knows is asked (RELIABILITY.md, C8 and G7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.embedded_process import EmbeddedProcess, Premises, invoke, launch, result, running
from tests.support.tool_server import ToolServer, tool_server
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

SENDER = """\
name: sender
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {call: {tool: http_post, args: {url: "URL/calls", body: "{input}"}}, say: "It said: {result}"}
tools: [{name: http_post, approval: ask}]
"""
BOSS = """\
name: boss
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {call: {tool: run_agent, args: {agent: poster, task: "{input}"}}, say: "They said: {result}"}
tools: [{name: run_agent, with: {agents: [poster]}}]
"""
POSTER = SENDER.replace("sender", "poster").replace(", approval: ask", "")


@pytest.fixture
async def tools() -> AsyncIterator[ToolServer]:
    """The world that a call changes."""
    async with tool_server() as server:
        yield server


@pytest.fixture
def premises(tmp_path: Path, tools: ToolServer) -> Premises:
    """A place with the agents, and with the setting under which their tools reach that world."""
    place = Premises(tmp_path, {"CALLBOARD_HTTP_ALLOW": tools.authority})
    place.add_agents(sender=SENDER.replace("URL", tools.url), boss=BOSS, poster=POSTER.replace("URL", tools.url))
    return place


async def _question(client: httpx2.AsyncClient, purpose: str) -> dict[str, Any]:
    async def asked() -> Any:
        found = (await client.get("/api/v1/clarifications", params={"status": "asked"})).json()["clarifications"]
        return next((question for question in found if question["purpose"] == purpose), None)

    question: dict[str, Any] = await wait_until(asked, f"somebody is asked ({purpose})", within=30.0)
    return question


async def _answer(client: httpx2.AsyncClient, question: dict[str, Any], answer: Any) -> None:
    path = f"/api/v1/clarifications/{question['clarification_id']}/answer"
    said = await client.post(path, json={"answer": answer})
    assert said.status_code == 200, said.text


async def _approved_and_killed(premises: Premises, place: str) -> str:
    """The id of a task whose process ended at that place, after a person had approved its call."""
    async with running(premises) as first, first.client() as client:
        task = await invoke(client, "sender", "hello")
        question = await _question(client, "approval")
    process = launch(premises, CALLBOARD_FAILPOINT=place)
    try:
        await process.ready()
        async with process.client() as client:
            await _answer(client, question, {"approved": True, "arguments": {**question["arguments"], "body": "hi"}})
            await process.exit_code(within=30.0)
    finally:
        assert process.process.poll() == -9, process.told
        process.kill()
    return task


async def _ended(process: EmbeddedProcess, task: str, *, repeat: bool | None = None) -> Any:
    async with process.client() as client:
        if repeat is not None:
            await _answer(client, await _question(client, "repeat"), repeat)
        return await result(client, task)


@pytest.mark.parametrize(("place", "times"), [("tool.attempting", 0), ("tool.called", 1)])
async def test_C8_killed_before_the_record_a_person_is_asked_whether_to_repeat(
    premises: Premises, tools: ToolServer, place: str, times: int
) -> None:
    task = await _approved_and_killed(premises, place)
    async with running(premises) as again:
        ended = await _ended(again, task, repeat=False)
    assert "a person decided not to repeat it" in ended["output"]
    assert [call.body for call in tools.calls] == ["hi"] * times


async def test_C8_killed_before_the_record_and_repeated_by_permission_it_is_the_approved_call(
    premises: Premises, tools: ToolServer
) -> None:
    task = await _approved_and_killed(premises, "tool.called")
    async with running(premises) as again:
        ended = await _ended(again, task, repeat=True)
    assert "noted hi" in ended["output"]
    assert [call.body for call in tools.calls] == ["hi", "hi"]
    assert len({call.key for call in tools.calls}) == 1, "whoever was called can tell that it is a repetition"


async def test_C8_killed_after_the_record_nothing_is_repeated_and_nobody_is_asked(
    premises: Premises, tools: ToolServer
) -> None:
    task = await _approved_and_killed(premises, "tool.recorded")
    async with running(premises) as again:
        ended = await _ended(again, task)
    assert "noted hi" in ended["output"]
    assert [call.body for call in tools.calls] == ["hi"]


async def test_C8_killed_while_another_agent_works_the_task_is_handed_on_once(
    premises: Premises, tools: ToolServer
) -> None:
    process = launch(premises, CALLBOARD_FAILPOINT="tool.recorded")
    try:
        await process.ready()
        async with process.client() as client:
            task = await invoke(client, "boss", "hello")
            await process.exit_code(within=30.0)
    finally:
        process.kill()
    async with running(premises) as again:
        ended = await _ended(again, task)
    assert ended["output"] == "They said: It said: noted hello"
    assert [call.body for call in tools.calls] == ["hello"]
    assert [row[0] for row in premises.rows("SELECT count(*) FROM runs WHERE parent_run_id IS NOT NULL")] == [1]
