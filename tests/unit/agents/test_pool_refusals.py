"""A process that cannot work on a run leaves it to those that can; the run fails where nobody can."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from pydantic import JsonValue

from callboard.agents.tools.run_agent import run_agent_tool
from callboard.agents.tools.tool import Tool
from callboard.errors import InvalidInputError
from callboard.orchestrator.registry import SETTLES_SECONDS
from callboard.state.agent_health import Availability
from callboard.state.runs import RunStatus
from tests.support.pool_house import PoolHouse, definition, pool_house

NO_CRUTCH = "there is no crutch"


class Crutch:
    """A tool that comes and goes."""

    def __init__(self) -> None:
        self.there = False

    def make(self, options: Mapping[str, JsonValue]) -> Tool:
        if not self.there:
            raise InvalidInputError(NO_CRUTCH)
        return run_agent_tool({"agents": ["echo"], **options})


@pytest.fixture
def crutch() -> Crutch:
    return Crutch()


@pytest.fixture
async def house(tmp_path: Path, crutch: Crutch) -> AsyncIterator[PoolHouse]:
    lame = definition("lame", tools=["crutch"])
    async with pool_house(tmp_path, definition("echo"), lame, tools={"crutch": crutch.make}) as opened:
        yield opened


async def test_a_run_waits_for_a_process_that_can_work_on_it(house: PoolHouse, crutch: Crutch) -> None:
    run_id = await house.state.queue("lame", max_attempts=1)
    async with house.running():
        await house.until(await house.state.queue(), RunStatus.SUCCEEDED)
        await house.later(30)
        waiting = await house.until(run_id, RunStatus.QUEUED)
        assert (waiting.run.failures, waiting.run.fencing) == (0, 1), "it is not claimed again and again in vain"
        crutch.there = True
        done = await house.until(run_id, RunStatus.SUCCEEDED)
    assert done.run.attempt == 1
    (told,) = [event for event in await house.state.queries.progress(run_id) if "error" in event.data]
    assert told.data == {"status": "queued", "error": {"code": "agent_unavailable", "message": NO_CRUTCH}}


async def test_a_run_that_no_process_can_work_on_fails_when_that_has_settled(house: PoolHouse) -> None:
    await house.health.report_availability("p1", [Availability(agent="lame", reason=NO_CRUTCH)])
    await house.registry.refresh()
    run_id = await house.state.queue("lame", max_attempts=1)
    async with house.running():
        await house.later(SETTLES_SECONDS - 1)
        assert (await house.until(run_id, RunStatus.QUEUED)).run.failures == 0
        failed = await house.until(run_id, RunStatus.FAILED)
    assert failed.error is not None
    assert (failed.error.code, failed.error.message) == ("agent_unavailable", NO_CRUTCH)
