"""The whole matrix: every part, killed, frozen for 40 s, restarted.

    scripts/test -m matrix tests/faults/distributed/test_matrix.py

One storm of 300 requests a cell, an hour in all; `CALLBOARD_STORM_SEED` repeats a cell. Every role is started as users
start it.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.distributed.storming import storm_seed, weather
from tests.support.distributed.cluster import ROLES
from tests.support.distributed.injury import SERVERS, Fault, Step

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.matrix, pytest.mark.timeout(600)]

FROZEN_SECONDS = 40.0
FAULTS: tuple[Fault, ...] = ("kill", "freeze", "restart")
PARTS = (*ROLES, *SERVERS)
SCALE = {"autonomous-agent-pool": 3, "agent-orchestrator": 2, "state-manager": 2, "event-bus": 2, "celery-worker": 2}


@pytest.mark.parametrize("part", PARTS)
async def test_C1_C3_D1_D2_kill_9(tmp_path: Path, part: str) -> None:
    away = 10.0 if part in SERVERS else 0.0
    steps = [Step(fault="kill", part=part, seconds=away) for _ in range(3)]
    await weather(tmp_path, steps, seed=storm_seed(), gap_seconds=5)


@pytest.mark.parametrize("part", PARTS)
async def test_C10_F2_stopped_for_40_seconds_and_continued(tmp_path: Path, part: str) -> None:
    await weather(tmp_path, [Step(fault="freeze", part=part, seconds=FROZEN_SECONDS)], seed=storm_seed(), gap_seconds=5)


@pytest.mark.parametrize("part", PARTS)
async def test_C10_C12_orderly_restart(tmp_path: Path, part: str) -> None:
    await weather(tmp_path, [Step(fault="restart", part=part)] * 3, seed=storm_seed(), gap_seconds=5)


@pytest.mark.parametrize("round_number", range(5))
async def test_everything_at_random(tmp_path: Path, round_number: int) -> None:
    """Steps drawn by the seed, over replicas of every role that may have them."""
    seed = storm_seed() + round_number
    chance = random.Random(seed)  # noqa: S311  # moments, not secrets
    steps = [
        Step(
            fault=chance.choice(("kill", "freeze", "restart")), part=chance.choice(PARTS), seconds=chance.uniform(1, 8)
        )
        for _ in range(12)
    ]
    scale = {
        "autonomous-agent-pool": 3,
        "agent-orchestrator": 2,
        "slack-gateway": 1,
        "state-manager": 2,
        "event-bus": 2,
    }
    await weather(tmp_path, steps, seed=seed, gap_seconds=3, scale=scale)
