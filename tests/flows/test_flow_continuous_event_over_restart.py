"""Events of a conversation, to what the agent gives out, over a restart in the middle of one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.system import Callboard, Start, callboard_at
from tests.support.waiting import wait_until

DIARY = """
name: diary
agent_type: assistant
execution_mode: continuous
conversation: user
llm_config:
  provider: scripted
  model_id: script
  script:
    - {when: slow, wait_seconds: 1.5, say: "entry {turn}: {input}"}
    - {say: "entry {turn}: {input}"}
"""
READER = """
name: reader
agent_type: assistant
execution_mode: autonomous
llm_config: {provider: scripted, model_id: echo}
subscriptions: [agent.output.diary]
"""


@pytest.fixture
async def impatient(tmp_path: Path, start: Start) -> AsyncIterator[Callboard]:
    """A system that waits for nobody when it stops."""
    async with callboard_at(tmp_path, start, drain_seconds=0.5) as running:
        yield running


@pytest.mark.slow
async def test_flow_continuous_event_over_restart(impatient: Callboard) -> None:
    callboard = impatient
    await callboard.write("diary", DIARY)
    await callboard.write("reader", READER)
    first = await callboard.invoke("diary", "milk")
    assert (await callboard.ended(first))["output"] == "entry 1: milk"

    second = await callboard.invoke("diary", "slow bread")
    third = await callboard.invoke("diary", "coffee")

    async def under_way() -> bool:
        return await callboard.status_of(second) == "running"

    await wait_until(under_way, "the second event is being worked on")
    await callboard.restart()

    assert (await callboard.ended(second))["output"] == "entry 2: slow bread"
    assert (await callboard.ended(third))["output"] == "entry 3: coffee"

    async def read() -> bool:
        return len(await callboard.runs_of("reader")) >= 3

    await wait_until(read, "whoever subscribes to agent.output.diary hears of every entry")
    heard = [(await callboard.ended(run["run_id"]))["output"] for run in await callboard.runs_of("reader")]
    assert heard == ["entry 1: milk", "entry 2: slow bread", "entry 3: coffee"]
