"""Models that stand in for one another, and what people see when none can: embedded and on many machines."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.system import Callboard
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

STEADY = """
name: steady
agent_type: assistant
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script: [{error: service_unavailable}]
  fallback:
    - {provider: scripted, model_id: script, script: [{error: rate_limit, retry_after_seconds: 60}]}
    - {provider: scripted, model_id: script, script: [{say: "the third says {input}"}]}
"""

STUCK = """
name: stuck
agent_type: assistant
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script: [{error: service_unavailable}]
  fallback: [{provider: scripted, model_id: script, script: [{when: never, say: no}, {error: service_unavailable}]}]
slack: {commands: [/stuck]}
"""


async def test_G2_the_next_model_answers_for_one_that_is_down(callboard: Callboard) -> None:
    await callboard.write("steady", STEADY)
    traces = []
    for number in range(7):
        result = await callboard.ended(await callboard.invoke("steady", f"hello {number}"))
        assert result["output"] == f"the third says hello {number}"
        traces.append(result["trace_id"])
    assert {run["attempt"] for run in await callboard.runs_of("steady")} == {1}
    # Of the first: nobody held any of the models back yet.
    story = await callboard.get(f"traces/{traces[0]}")
    (node,) = [node for event in story["tree"] for node in event["children"] if node["kind"] == "run"]
    told = [(child["status"], (child.get("error") or {}).get("message")) for child in node["children"]]
    assert told == [
        ("failed", "the script says: service unavailable"),
        ("failed", "the script says: rate limit"),
        ("done", None),
    ]
    assert [child["name"].startswith("scripted@") for child in node["children"]] == [True, True, False]


async def test_G2_with_no_model_left_the_run_waits_says_so_and_can_be_cancelled(callboard: Callboard) -> None:
    await callboard.write("stuck", STUCK)
    async with callboard.person() as anna:
        sent = await anna.command("/stuck hello")
        assert sent.status == 200

        async def begun() -> bool:
            return bool(await callboard.runs_of("stuck"))

        await wait_until(begun, "the command has become a run")
        for number in range(5):
            await callboard.invoke("stuck", f"hello {number}")
        notice = await callboard.message(
            lambda message: "waits for the model provider" in message.text, "the notice", within=30.0
        )
    assert "the script says: service unavailable" in notice.text

    async def waits() -> dict[str, Any] | None:
        run = (await callboard.runs_of("stuck"))[0]
        return run if run["status"] == "waiting" else None

    run = await wait_until(waits, "the run waits")
    assert run is not None
    status = await callboard.get(f"agents/status/{run['run_id']}")
    assert status["waiting_for"]["kind"] == "provider"
    lines = (await callboard.get(f"traces/{run['trace_id']}"))["tree"]
    assert lines
    for each in await callboard.runs_of("stuck"):
        await callboard.post(f"agents/cancel/{each['run_id']}")
        assert (await callboard.ended(each["run_id"]))["status"] == "cancelled"
