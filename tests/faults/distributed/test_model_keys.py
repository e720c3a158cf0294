"""Only the pools have keys and secrets of agents; others say the same as they and leave runs to who has them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.faults.distributed.house import House, house
from tests.support.distributed.nursery import Nursery
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(200)]

POOL = "autonomous-agent-pool"
FOREIGN = """\
name: foreign
agent_type: assistant
execution_mode: autonomous
llm_config: {provider: openai, model_id: gpt-5}
"""
REPORTER = """\
name: reporter
agent_type: assistant
execution_mode: autonomous
llm_config: {provider: scripted, model_id: echo}
tools: [{name: sql_query, with: {database: "${env:SALES_DSN}"}}]
limits: {max_attempts: 1}
"""


async def listed(built: House, name: str) -> dict[str, Any] | None:
    async with built.cluster.client() as client:
        agents = (await client.get("/api/v1/agents")).json()["agents"]
    return next((agent for agent in agents if agent["name"] == name), None)


async def until_status(built: House, name: str, status: str) -> None:
    async def is_so() -> bool:
        agent = await listed(built, name)
        return agent is not None and agent["status"] == status

    await wait_until(is_so, f"the pools' report that {name} is {status} to reach the API", within=45.0)


async def test_an_agent_whose_pool_lacks_the_key_is_refused_by_the_api_with_the_reason(
    tmp_path: Path, loaded: Nursery
) -> None:
    async with house(tmp_path, loaded.spawn) as built:
        built.site.add_agents(foreign=FOREIGN)
        await until_status(built, "foreign", "unavailable")
        async with built.cluster.client() as client:
            refused = await client.post("/api/v1/agents/invoke", json={"agent": "foreign", "input": "hello"})
        assert refused.status_code == 503
        assert "OPENAI_API_KEY is not set" in refused.json()["error"]["message"]


async def test_a_pool_that_lacks_a_secret_leaves_the_runs_to_the_one_that_has_it(
    tmp_path: Path, loaded: Nursery
) -> None:
    async with house(tmp_path, loaded.spawn) as built:
        built.site.add_agents(reporter=REPORTER)
        await until_status(built, "reporter", "unavailable")
        (poor,) = built.cluster.of(POOL)
        rich = built.cluster.launch(POOL, SALES_DSN="sqlite:///sales.db")
        await built.cluster.ready([rich])
        await until_status(built, "reporter", "available")
        tasks = [await built.invoke("reporter", f"report {number}") for number in range(30)]
        ended = await asyncio.gather(*(built.ended(task) for task in tasks))
        assert [row["status"] for row in ended] == ["succeeded"] * 30

        def worked_by_rich() -> bool:
            return {record["run_id"] for record in rich.records() if record["message"] == "run started"} >= set(tasks)

        await wait_until(worked_by_rich, "the log says who has worked on all of them")
        in_vain = [record for record in poor.records() if record["message"].startswith("run left to a process")]
        assert all("SALES_DSN" in record["reason"] for record in in_vain)
