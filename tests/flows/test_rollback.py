"""A version that was put back is what the very next request meets."""

from __future__ import annotations

import pytest

from tests.support.system import Callboard

ONE = """
name: helper
agent_type: assistant
execution_mode: autonomous
llm_config: {provider: scripted, model_id: script, script: [{say: "one"}]}
slack: {commands: [/help-me]}
"""
OTHER = """
name: other
agent_type: assistant
execution_mode: autonomous
llm_config: {provider: scripted, model_id: echo}
slack: {commands: [/help-me]}
"""


@pytest.mark.slow
async def test_a_rollback_is_in_force_when_it_is_answered(callboard: Callboard) -> None:
    await callboard.write("helper", ONE)
    await callboard.write("helper", ONE.replace('"one"', '"two"'))
    told = await callboard.post("agents/helper/rollback")
    assert (told["version"], told["pinned"], told["latest"]) == (1, True, 2)
    assert (await callboard.ended(await callboard.invoke("helper", "?")))["output"] == "one"
    await callboard.post("agents/helper/unpin")
    assert (await callboard.ended(await callboard.invoke("helper", "?")))["output"] == "two"


@pytest.mark.slow
async def test_a_rollback_takes_no_command_away_from_another_agent(callboard: Callboard) -> None:
    await callboard.write("helper", ONE)
    await callboard.write("helper", ONE.replace("slack: {commands: [/help-me]}\n", ""))
    await callboard.write("other", OTHER)
    refused = await callboard.call("POST", "/api/v1/agents/helper/rollback", json={"version": 1})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "command_taken")
    assert "other" in refused.json()["error"]["message"]
