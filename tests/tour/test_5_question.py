"""Tour, 5 of 8: a question. An agent that needs a person waits, and holds nothing while it does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.system import Callboard
from tests.support.waiting import wait_until

BOOKER = """
name: booker
agent_type: tour
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {ask: {question: "Which day?", options: [Monday, Friday]}, say: "Booked for {answer}."}
"""


@pytest.mark.slow
async def test_a_run_waits_for_the_answer_of_a_person(callboard: Callboard) -> None:
    await callboard.write("booker", BOOKER)
    task = await callboard.invoke("booker", "a table for two")

    async def asked() -> Any:
        return (await callboard.get("clarifications"))["clarifications"]

    (question,) = await wait_until(asked, "the booker asks")
    assert (question["question"], question["options"]) == ("Which day?", ["Monday", "Friday"])
    assert await callboard.status_of(task) == "waiting"

    # Anything but an option is told what the options are, and the question stays open.
    wrong = await callboard.call("POST", f"/api/v1/agents/approve/{task}", json={"answer": "Sunday"})
    assert wrong.status_code == 422

    # The first answer counts.
    await callboard.post(f"agents/approve/{task}", answer="Friday")
    assert (await callboard.ended(task))["output"] == "Booked for Friday."
