"""A run with a question and a handed task, rehearsed and replayed, in one process and in many."""

from __future__ import annotations

from typing import Any

from tests.support.system import Callboard
from tests.support.waiting import wait_until

HELPER = """
name: helper
agent_type: helper
execution_mode: continuous
llm_config:
  provider: scripted
  model_id: script
  script: [{say: "turn {turn}: {input}"}]
"""
BOSS = """
name: boss
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - ask: {question: "Which city?", options: [Berlin, Paris]}
      call: {tool: run_agent, args: {agent: helper, task: "TASK {answer}"}}
      say: "It says {result}"
tools: [{name: run_agent, with: {agents: [helper]}}]
"""


async def replayed(callboard: Callboard, run: str, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    accepted = await callboard.post(f"runs/{run}/replay", **more)
    result = await callboard.ended(accepted["task_id"])
    return result, await callboard.get(f"runs/{accepted['task_id']}/comparison")


async def test_flow_rehearsal_and_replay(callboard: Callboard) -> None:
    await callboard.write("helper", HELPER)
    await callboard.write("boss", BOSS.replace("TASK", "count"))
    dry = await callboard.ended(await callboard.invoke("boss", "go", dry_run=True))
    assert dry["output"] == "It says turn 1: count dry run: nobody was asked"
    assert [each["question"] for each in dry["would_ask"]] == ["Which city?"]

    task = await callboard.invoke("boss", "go")

    async def asked() -> Any:
        return (await callboard.get("clarifications", status="asked"))["clarifications"]

    (question,) = await wait_until(asked, "somebody is asked")
    await callboard.post(f"clarifications/{question['clarification_id']}/answer", answer="Paris")
    first = await callboard.ended(task)
    assert first["output"] == "It says turn 1: count Paris"

    result, told = await replayed(callboard, task)
    assert (result["output"], told["equal"], told["same_calls"]) == (first["output"], True, True)
    assert [call["tool"] for call in told["calls"]] == ["ask_human", "run_agent"]
    assert (await callboard.get(f"runs/{result['task_id']}"))["steps"] == []

    await callboard.write("boss", BOSS.replace("TASK", "weigh"))
    result, told = await replayed(callboard, task, agent_version=2)
    assert (result["output"], told["equal"]) == ("It says turn 1: weigh Paris", False)
    (step,) = (await callboard.get(f"runs/{result['task_id']}"))["steps"]
    assert (step["agent"], step["dry"], step["status"]) == ("helper", True, "succeeded")
    assert [(call["tool"], call["change"]) for call in told["calls"]] == [
        ("ask_human", "same"),
        ("run_agent", "changed"),
    ]
    assert (await callboard.get("clarifications", status="asked"))["clarifications"] == []
