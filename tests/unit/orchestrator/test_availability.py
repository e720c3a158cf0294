"""The pools know which agents cannot work for lack of a key; who has no keys believes them (R30)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard.config.catalog import Catalog
from callboard.config.definition import AgentDefinition
from callboard.orchestrator.availability import EVERY_SECONDS, AvailabilityReport
from callboard.orchestrator.registry import AgentRegistry
from callboard.state.registered_agents import AgentStatus
from tests.support.pool_house import PoolHouse, catalog_of, definition, pool_house
from tests.support.state_house import TESS
from tests.support.waiting import wait_until

FOREIGN = definition("foreign", llm_config={"provider": "openai", "model_id": "gpt-5"})
AGENTS = catalog_of(FOREIGN, definition("echo"), definition("keeper", "continuous"))


class Keys:
    """A process whose environment has a key or not."""

    def __init__(self) -> None:
        self.catalog: Catalog = AGENTS
        self.key = False

    def why(self, agent: AgentDefinition) -> str | None:
        return None if self.key or agent.name == "echo" else "OPENAI_API_KEY is not set"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[PoolHouse]:
    async with pool_house(tmp_path, definition("echo")) as opened:
        yield opened


def pool(house: PoolHouse, keys: Keys, process: str = "p1") -> AvailabilityReport:
    return AvailabilityReport(lambda: keys.catalog, keys.why, house.health, house.clock, ["autonomous"], process)


def api(house: PoolHouse) -> AgentRegistry:
    """A role without keys, for which every model is as good as any other."""
    return AgentRegistry(lambda: AGENTS, house.health, lambda agent: None, house.clock, believes_reports=True)


async def test_who_has_no_keys_says_what_the_pool_reported(house: PoolHouse) -> None:
    keys, registry = Keys(), api(house)
    await pool(house, keys).report()
    await registry.refresh()
    assert registry.availability("foreign") == "OPENAI_API_KEY is not set"
    assert registry.availability("echo") is None
    assert registry.availability("keeper") is None, "another pool's agent is not this one's to judge"
    keys.key = True
    await pool(house, keys).report()
    await registry.refresh()
    assert registry.availability("foreign") is None


async def test_a_pool_without_a_key_does_not_speak_for_one_that_has_it(house: PoolHouse) -> None:
    await house.state.processes.register("p3", "pool", "here", 3)
    rich, poor, registry = Keys(), Keys(), api(house)
    rich.key = True
    reports = [pool(house, rich, "p2"), pool(house, poor, "p3")]
    for _ in range(3):
        for report in reports:
            await report.report()
            await registry.refresh()
            assert registry.availability("foreign") is None
    rich.key = False
    await reports[0].report()
    await registry.refresh()
    assert registry.availability("foreign") == "OPENAI_API_KEY is not set"


async def test_who_has_keys_knows_better_than_an_old_report(house: PoolHouse) -> None:
    keys = Keys()
    await pool(house, keys).report()
    own = AgentRegistry(lambda: AGENTS, house.health, lambda agent: None, house.clock)
    await own.refresh()
    assert own.availability("foreign") is None


async def test_a_changed_catalog_is_reported_at_once_and_a_foreign_record_put_right_in_time(house: PoolHouse) -> None:
    keys = Keys()
    keys.catalog = catalog_of(definition("echo"))
    report = pool(house, keys)
    running = asyncio.create_task(report.run())

    async def unavailable() -> bool:
        record = (await house.health.statuses()).get("foreign")
        return record is not None and record.status is AgentStatus.UNAVAILABLE

    try:
        await house.later(1)
        assert not await unavailable()
        keys.catalog = AGENTS
        report.catalog_changed(AGENTS)
        await wait_until(unavailable, "the new agent to be reported")
        await house.health.set_status("foreign", AgentStatus.AVAILABLE, TESS)
        await house.later(EVERY_SECONDS + 1)
        await wait_until(unavailable, "the record to be put right")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
