"""A process that is killed amid a model call: nobody knows what the call has cost, so it counts at its worst (R20)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.embedded_process import Premises, invoke, running
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

THINKER = """\
name: thinker
agent_type: demo
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  max_tokens: 200
  script: [{wait_seconds: WAIT, say: "done"}]
limits: {daily_cost_usd: 1.00}
"""
PRICES = "prices: [{provider: scripted, model: script, input_usd: 1000, output_usd: 1000}]\n"


async def test_G4_a_call_that_was_under_way_when_the_process_died_counts_at_its_worst(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(PRICES)
    premises = Premises(tmp_path, {"CALLBOARD_MODELS": str(tmp_path / "models.yaml")})
    premises.add_agents(thinker=THINKER.replace("WAIT", "300"))
    async with running(premises) as first:
        async with first.client() as client:
            task = await invoke(client, "thinker", "x" * 400)
        await wait_until(lambda: premises.rows("SELECT usd FROM reservations"), "the call is under way")
        (reserved,) = premises.rows("SELECT usd FROM reservations")
        assert reserved["usd"] == pytest.approx(0.3)
        first.kill()
    async with running(premises) as second, second.client() as client:
        status = (await client.get(f"/api/v1/agents/status/{task}")).json()
        assert status["cost_usd"] == pytest.approx(0.3)
        assert status["cost_estimated"] is True
        (line,) = (await client.get("/api/v1/costs")).json()["costs"]
        assert line["usd"] == line["estimated_usd"] == pytest.approx(0.3)
        await client.post(f"/api/v1/agents/cancel/{task}")

        async def ended() -> Any:
            return (await client.get(f"/api/v1/agents/status/{task}")).json()["status"] == "cancelled"

        await wait_until(ended, "the run is cancelled")
        # Cancelled amid its second call: that one counts too.
        assert (await client.get("/api/v1/costs")).json()["total_usd"] == pytest.approx(0.6)
    assert premises.rows("SELECT usd FROM reservations") == []
