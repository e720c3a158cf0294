"""Tour, 3 of 8: an agent file. Saving it is all there is to do; a mistake in it changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.system import Callboard
from tests.support.waiting import wait_until

HELPER = """\
name: helper
agent_type: tour
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {say: "I can help with {input}."}
"""


@pytest.mark.slow
async def test_a_saved_file_is_an_agent_and_a_broken_edit_leaves_the_last_good_version(callboard: Callboard) -> None:
    # A file is saved while the system runs, and the agent is there.
    agent = await callboard.write("helper", HELPER)
    assert (agent["version"], agent["status"]) == (1, "available")

    # Somebody saves it with a slip of the finger. The listing shows where it is and what to write instead.
    (callboard.agents / "helper.yaml").write_text(HELPER.replace("agent_type", "agent_tipe"))

    async def refused() -> Any:
        return (await callboard.get("agents/helper")).get("rejected")

    problem = await wait_until(refused, "the edit is refused")
    assert problem["line"] == 2
    assert "'agent_tipe'" in problem["message"]
    assert "'agent_type'" in problem["hint"] + problem["message"]

    # The helper goes on as it was.
    task = await callboard.invoke("helper", "the move")
    assert (await callboard.ended(task))["output"] == "I can help with the move."
