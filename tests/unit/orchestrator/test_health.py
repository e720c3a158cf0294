"""Agents that have work and give no sign of life are found, made anew three times, and then given up (I-3, R30)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard.agents.engine import Outcome, Work
from callboard.orchestrator.health_watch import HealthWatch
from callboard.state.registered_agents import AgentStatus
from callboard.state.runs import RunStatus
from tests.support.pool_house import PoolHouse, definition, hangs, pool_house, succeeded
from tests.support.state_house import TESS


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[PoolHouse]:
    async with pool_house(tmp_path, definition("echo"), definition("other")) as opened:
        yield opened


async def watched(house: PoolHouse, seconds: float, watch: HealthWatch | None = None) -> None:
    """So much time with a report and a look every five seconds, as their own loops do it."""
    for _ in range(round(seconds / 5)):
        await house.later(5, step=1)
        await house.vital_signs.report()
        await (watch or house.watch).look()


async def status(house: PoolHouse, agent: str = "echo") -> tuple[AgentStatus | None, int]:
    record = (await house.health.statuses()).get(agent)
    return (record.status, record.restarts) if record else (None, 0)


async def test_I3_a_silent_agent_is_found_within_a_minute_and_its_run_is_tried_anew(house: PoolHouse) -> None:
    house.engine.does = hangs
    run_id = await house.state.queue(timeout=86_400)
    async with house.running():
        await house.until_begun()
        await watched(house, 45)
        assert await status(house) == (None, 0)
        house.engine.does = None
        await watched(house, 15)
        assert (await status(house))[1] == 1
        result = await house.until(run_id, RunStatus.SUCCEEDED)
        await house.vital_signs.report()
    assert result.run.failures == 1
    assert await status(house) == (AgentStatus.AVAILABLE, 1)


async def test_I3_after_three_restarts_the_agent_has_failed(house: PoolHouse) -> None:
    house.engine.does = hangs
    async with house.running():
        for restart in range(1, 5):
            await house.state.queue(max_attempts=1, timeout=86_400)
            await house.until_begun(restart)
            await watched(house, 65)
            wanted = (AgentStatus.AVAILABLE, restart) if restart < 4 else (AgentStatus.FAILED, 3)
            assert await status(house) == wanted
        await house.registry.refresh()
        assert "3 restarts" in (house.registry.availability("echo") or "")
        late = await house.state.queue()
        result = await house.until(late, RunStatus.FAILED)
    assert result.error is not None
    assert result.error.code == "agent_unavailable"


async def test_I3_the_count_survives_the_orchestrator(house: PoolHouse) -> None:
    house.engine.does = hangs
    async with house.running():
        for restart in range(1, 4):
            await house.state.queue(max_attempts=1, timeout=86_400)
            await house.until_begun(restart)
            await watched(house, 65, HealthWatch(house.health, house.clock))
        assert (await status(house))[1] == 3
        await house.state.queue(max_attempts=1, timeout=86_400)
        await house.until_begun(4)
        await watched(house, 65, HealthWatch(house.health, house.clock))
        assert await status(house) == (AgentStatus.FAILED, 3)
        await house.registry.resume("echo", TESS)
    assert await status(house) == (AgentStatus.AVAILABLE, 0)


async def test_a_slow_call_that_was_announced_is_no_death(house: PoolHouse) -> None:
    gate = asyncio.Event()

    async def slow(work: Work) -> Outcome:
        work.journal.busy(300.0)
        await gate.wait()
        work.journal.beat()
        return succeeded("slow")

    house.engine.does = slow
    run_id = await house.state.queue(timeout=86_400)
    async with house.running():
        await house.until_begun()
        await watched(house, 290)
        assert await status(house) == (None, 0)
        gate.set()
        await house.until(run_id, RunStatus.SUCCEEDED)


async def test_a_call_that_takes_longer_than_announced_is_found(house: PoolHouse) -> None:
    async def slow(work: Work) -> Outcome:
        work.journal.busy(100.0)
        return await hangs(work)

    house.engine.does = slow
    await house.state.queue(timeout=86_400, max_attempts=1)
    async with house.running():
        await house.until_begun()
        await watched(house, 100)
        assert await status(house) == (None, 0)
        await watched(house, 60)
        assert (await status(house))[1] == 1


async def test_another_run_of_the_agent_does_not_end_an_announced_silence(house: PoolHouse) -> None:
    """Two runs share an agent: what one says about itself must not be taken for the other."""

    async def both(work: Work) -> Outcome:
        if work.input == "quick":
            work.journal.busy(5.0)
            work.journal.beat()
            return succeeded("quick")
        work.journal.busy(300.0)
        return await hangs(work)

    house.engine.does = both
    await house.state.queue(input="slow", timeout=86_400)
    async with house.running():
        await house.until_begun()
        quick = await house.state.queue(input="quick")
        await house.until(quick, RunStatus.SUCCEEDED)
        await watched(house, 200)
        assert await status(house) == (None, 0)


async def test_an_agent_without_work_may_be_silent_for_ever(house: PoolHouse) -> None:
    run_id = await house.state.queue()
    async with house.running():
        await house.until(run_id, RunStatus.SUCCEEDED)
        await watched(house, 300)
    assert await status(house) == (None, 0)


async def test_a_hung_agent_takes_no_other_with_it(house: PoolHouse) -> None:
    async def one_hangs(work: Work) -> Outcome:
        if work.agent == "echo":
            return await hangs(work)
        return succeeded("fine")

    house.engine.does = one_hangs
    await house.state.queue("echo", timeout=86_400, max_attempts=1)
    async with house.running():
        await house.until_begun()
        other = await house.state.queue("other")
        await watched(house, 65)
        await house.until(other, RunStatus.SUCCEEDED)
    assert (await status(house))[1] == 1
    assert await status(house, "other") == (None, 0)


async def test_what_a_dead_process_reported_is_cleared_away(house: PoolHouse) -> None:
    house.engine.does = hangs
    await house.state.queue(timeout=86_400)
    async with house.running():
        await house.until_begun()
        await watched(house, 10)
        assert [beat.agent for beat in await house.health.beats()] == ["echo"]
        await house.state.processes.declare_dead(["p1"])
        house.leased = False
        assert await house.health.beats() == []


async def test_a_status_is_announced_and_a_pause_holds_runs_back(house: PoolHouse) -> None:
    heard = house.bus.listen(["agent.status.echo"], signals=False)
    await heard.wait()
    await house.registry.pause("echo", TESS)
    await asyncio.wait_for(heard.wait(), 30)
    assert house.registry.availability("echo") == "agent echo was paused by tess"
    assert house.registry.refusal("echo") is None
    assert [agent.name for agent in await house.registry.get_agent_registry(status=AgentStatus.PAUSED)] == ["echo"]
    run_id = await house.state.queue()
    async with house.running():
        await house.later(3)
        assert await house.state.status(run_id) is RunStatus.QUEUED
        await house.registry.resume("echo", TESS)
        await house.until(run_id, RunStatus.SUCCEEDED)
