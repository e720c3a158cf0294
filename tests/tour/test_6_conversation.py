"""Tour, 6 of 8: a conversation. A continuous agent takes its events one at a time, in order, and remembers them."""

from __future__ import annotations

import pytest

from tests.support.system import Callboard

DIARY = """
name: diary
agent_type: tour
execution_mode: continuous
conversation: user
llm_config:
  provider: scripted
  model_id: script
  script:
    - {say: "entry {turn}: {input}"}
"""


@pytest.mark.slow
async def test_a_conversation_is_remembered_in_order_and_over_a_restart(callboard: Callboard) -> None:
    await callboard.write("diary", DIARY)

    # Three things at once: they are taken in the order in which they came.
    tasks = [await callboard.invoke("diary", word) for word in ("milk", "bread", "coffee")]
    written = [(await callboard.ended(task))["output"] for task in tasks]
    assert written == ["entry 1: milk", "entry 2: bread", "entry 3: coffee"]

    # The memory is a record, not a process.
    await callboard.restart()
    fourth = await callboard.invoke("diary", "tea")
    assert (await callboard.ended(fourth))["output"] == "entry 4: tea"

    # Another conversation begins at one.
    other = await callboard.invoke("diary", "salt", conversation_id="ben")
    assert (await callboard.ended(other))["output"] == "entry 1: salt"
