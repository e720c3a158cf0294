"""Tour, 8 of 8: a trace. One id leads through everything that came of one request."""

from __future__ import annotations

import pytest

from callboard.logs import read_log
from tests.support.system import Callboard
from tests.support.waiting import wait_until

ECHO = """
name: echo
agent_type: tour
execution_mode: autonomous
llm_config: {provider: scripted, model_id: echo}
"""
TEAM = """
name: team
agent_type: tour
execution_mode: collaborative
llm_config: {provider: scripted, model_id: echo}
collaboration: {members: [echo]}
"""


@pytest.mark.slow
async def test_one_id_tells_the_whole_story(callboard: Callboard) -> None:
    await callboard.write("echo", ECHO)
    await callboard.write("team", TEAM)
    accepted = await callboard.post("agents/invoke", agent="team", input="hello")
    await callboard.ended(accepted["task_id"])

    # The event led to a run of the team, and that to a run of its member.
    story = await callboard.get(f"traces/{accepted['trace_id']}")
    (event,) = story["tree"]
    (run,) = event["children"]
    members = [node["name"] for node in run["children"] if node["kind"] == "run"]
    assert (event["name"], run["name"], members) == ("api.invoke.team", "team", ["echo: echo"])

    # Every log line on the way carries the id.
    def parts() -> bool:
        told = {line["component"] for line in read_log(callboard.logs, accepted["trace_id"])}
        return {"api", "collaborative-agent-pool", "autonomous-agent-pool"} <= told

    await wait_until(parts, "API and pools have written lines with the trace id")
