"""Tour, 7 of 8: a schedule. The clock makes events too, each of its times once."""

from __future__ import annotations

import pytest

from tests.support.system import Callboard

REPORTER = """
name: reporter
agent_type: tour
execution_mode: scheduled
llm_config: {provider: scripted, model_id: echo}
schedules:
  - {id: night, cron: "30 2 * * *", timezone: Europe/Berlin, input: "the night's report"}
"""


@pytest.mark.slow
async def test_a_schedule_names_times_and_can_be_run_now(callboard: Callboard) -> None:
    await callboard.write("reporter", REPORTER)

    # In the night of 28 March 2027 there is no 2:30 in Berlin. The preview says what happens then.
    (coming,) = (await callboard.get("schedules/reporter/preview", start="2027-03-27T12:00:00Z", count=2))["previews"]
    assert [line["local"] for line in coming["times"]] == ["2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"]
    assert "02:30 does not exist, fires at 03:00" in coming["times"][0]["note"]

    # Nobody has to wait for the night to see the report.
    fired = await callboard.post("schedules/reporter/run")
    assert (await callboard.ended(fired["task_id"]))["output"] == "the night's report"
