"""A tick of the clock, to the message it leads to."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.system import Callboard
from tests.support.waiting import wait_until

LOOKOUT = """
name: lookout
agent_type: reporter
execution_mode: scheduled
llm_config:
  provider: scripted
  model_id: script
  script: [{say: "All quiet ({input})."}]
schedules:
  - {id: look, interval_seconds: 1, input: "a look around", deliver_to: "#ops"}
"""


@pytest.mark.slow
async def test_flow_tick_to_delivery(callboard: Callboard) -> None:
    await callboard.write("lookout", LOOKOUT)
    report = await callboard.message(lambda message: message.channel == "C_OPS", "a report in #ops", within=30.0)
    assert report.text == "All quiet (a look around)."

    async def history() -> list[Any]:
        found = (await callboard.get("schedules/history", agent="lookout"))["occurrences"]
        return [each for each in found if each["trace_id"] and each["trace_id"] in report.shown]

    (fired,) = await wait_until(history, "the ledger names the tick of the report")
    assert fired["status"] in ("fired", "caught_up")
    assert fired["schedule_id"] == "lookout.look"
    assert (await callboard.ended(fired["task_id"]))["output"] == "All quiet (a look around)."
    story = await callboard.get(f"traces/{fired['trace_id']}")
    assert [node["name"] for node in story["tree"]] == ["scheduled.tasks.lookout"]


@pytest.mark.slow
async def test_no_tick_fires_twice(callboard: Callboard) -> None:
    await callboard.write("lookout", LOOKOUT)
    await wait_until(lambda: len(callboard.slack.messages) >= 3, "three reports", within=30.0)
    await callboard.restart()
    before = len(callboard.slack.messages)
    await wait_until(lambda: len(callboard.slack.messages) >= before + 2, "two more after a restart", within=30.0)
    found = (await callboard.get("schedules/history", agent="lookout"))["occurrences"]
    times = [each["nominal_time"] for each in found]
    assert len(times) == len(set(times))
    tasks = [each["task_id"] for each in found if each["task_id"]]
    assert len(tasks) == len(set(tasks)) == len(await callboard.runs_of("lookout"))
