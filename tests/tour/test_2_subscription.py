"""Tour, 2 of 8: a subscription. An agent names the topics it wants to hear of: `*` is one word, `#` any number."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.system import Callboard
from tests.support.waiting import wait_until

LISTENER = """
name: listener
agent_type: tour
execution_mode: autonomous
llm_config: {provider: scripted, model_id: echo}
subscriptions: [slack.events.message.*]
"""


@pytest.mark.slow
async def test_an_agent_hears_what_it_subscribes_to(callboard: Callboard) -> None:
    await callboard.write("listener", LISTENER)

    async with callboard.person() as anna:
        await anna.message("Good morning!")

    async def heard() -> list[Any]:
        return await callboard.runs_of("listener")

    (run,) = await wait_until(heard, "the listener hears the message")
    assert (await callboard.ended(run["run_id"]))["output"] == "Good morning!"
