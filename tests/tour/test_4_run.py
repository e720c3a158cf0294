"""Tour, 4 of 8: a run. One piece of work of one agent: queued, running, maybe waiting, and then an end."""

from __future__ import annotations

import pytest

from tests.support.system import Callboard
from tests.support.waiting import wait_until

WORKER = """
name: worker
agent_type: tour
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {when: slow, wait_seconds: 30, say: "at last"}
    - {when: wrong, error: invalid_request}
    - {say: "done: {input}"}
"""


@pytest.mark.slow
async def test_a_run_goes_from_queued_to_its_end(callboard: Callboard) -> None:
    await callboard.write("worker", WORKER)

    # Most runs succeed, and keep their output.
    good = await callboard.ended(await callboard.invoke("worker", "this"))
    assert (good["status"], good["output"]) == ("succeeded", "done: this")

    # Some fail, and say why.
    bad = await callboard.ended(await callboard.invoke("worker", "something wrong"))
    assert (bad["status"], bad["output"]) == ("failed", None)
    assert bad["error"]["message"]

    # One that takes too long can be cancelled.
    slow = await callboard.invoke("worker", "slow")

    async def running() -> bool:
        return await callboard.status_of(slow) == "running"

    await wait_until(running, "the slow run has begun")
    await callboard.post(f"agents/cancel/{slow}")
    assert (await callboard.ended(slow))["status"] == "cancelled"
