"""Only the pools have keys of model providers; the API, which has none, says the same as they (R30)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.distributed.house import house
from tests.support.distributed.nursery import Nursery
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(200)]

AGENT = """\
name: foreign
agent_type: assistant
execution_mode: autonomous
llm_config: {provider: openai, model_id: gpt-5}
"""


async def test_an_agent_whose_pool_lacks_the_key_is_refused_by_the_api_with_the_reason(
    tmp_path: Path, loaded: Nursery
) -> None:
    async with house(tmp_path, loaded.spawn) as built:
        built.site.add_agents(foreign=AGENT)

        async def unavailable() -> bool:
            async with built.cluster.client() as client:
                listed = (await client.get("/api/v1/agents")).json()["agents"]
            return [agent["status"] for agent in listed if agent["name"] == "foreign"] == ["unavailable"]

        await wait_until(unavailable, "the pool's report to reach the API", within=30.0)
        async with built.cluster.client() as client:
            refused = await client.post("/api/v1/agents/invoke", json={"agent": "foreign", "input": "hello"})
        assert refused.status_code == 503
        assert "OPENAI_API_KEY is not set" in refused.json()["error"]["message"]
