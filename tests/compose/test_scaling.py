"""docker-compose up --scale autonomous-agent-pool=3, and back."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.compose.team import Team
from tests.support.compose.engine import docker
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.compose, pytest.mark.slow, pytest.mark.timeout(700)]

POOL = "autonomous-agent-pool"
RUNS = 300
AT_LEAST = 60
# A machine that is busy with other things lets one container stand for a moment: that is no one's fair share.
ROUNDS = 3
WORKER = """
name: worker
agent_type: assistant
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {when: long, wait_seconds: 4, say: done}
    - {wait_seconds: 0.1, say: done}
limits: {max_concurrency: 1000}
"""


async def test_three_replicas_share_the_work_and_what_goes_away_finishes_first(team: Team) -> None:
    await team.drop("worker", WORKER)
    try:
        team.stack.up("--scale", f"{POOL}=3")
        assert len(team.stack.containers(POOL)) == 3

        fairest = 0
        for _ in range(ROUNDS):
            shares = await _round(team)
            assert sum(shares.values()) == RUNS, "each run is done once"
            fairest = max(fairest, min(shares.values()))
            if fairest >= AT_LEAST:
                break
        assert fairest >= AT_LEAST

        going = set(await team.invoke("worker", "long", 30))
    finally:
        team.stack.up("--scale", f"{POOL}=1")
    assert len(team.stack.containers(POOL)) == 1
    ended = await _all_ended(team, going)
    assert {run["attempt"] for run in ended} == {1}, "a replica that goes away finishes what it has begun"


async def _round(team: Team) -> Counter[str]:
    """One burst, to its end; how many of its runs each replica did."""
    tasks = set(await team.invoke("worker", "short", RUNS))
    await _all_ended(team, tasks)
    return _shares(team, tasks)


async def _all_ended(team: Team, tasks: set[str]) -> list[dict[str, Any]]:
    """Those runs, once every one of them has succeeded."""

    async def succeeded() -> list[dict[str, Any]]:
        return [run for run in await team.runs_of("worker", status="succeeded") if run["run_id"] in tasks]

    async def all_of_them() -> bool:
        for status in ("queued", "running"):  # short lists, and mostly enough to know that it is too early
            if await team.runs_of("worker", status=status):
                return False
        return len(await succeeded()) == len(tasks)

    await wait_until(all_of_them, f"all {len(tasks)} runs succeed", within=60)
    return await succeeded()


def _shares(team: Team, tasks: set[str]) -> Counter[str]:
    """How many of the runs each replica ended, by its own log."""
    shares: Counter[str] = Counter()
    for container in team.stack.containers(POOL):
        lines = [json.loads(line) for line in docker("logs", container).splitlines() if line.startswith("{")]
        shares[container] = len({line["run_id"] for line in lines if line.get("run_id") in tasks})
    return shares
