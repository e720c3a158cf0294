"""Kills, freezes and restarts of every part under mixed load, several parts in a storm, in the time that CI has.

Each storm prints its seed (`CALLBOARD_STORM_SEED` repeats it) and each step with its time. The full matrix, one part
and one fault a storm, is in `test_matrix.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.distributed.storming import storm_seed, weather
from tests.support.distributed.cluster import ROLES
from tests.support.distributed.injury import SERVERS, Step
from tests.support.distributed.nursery import Nursery

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.timeout(240)]


async def test_C1_kill_9_of_each_service_loses_nothing_and_doubles_nothing(tmp_path: Path, loaded: Nursery) -> None:
    await weather(tmp_path, [Step(fault="kill", part=role) for role in ROLES], seed=storm_seed(), spawn=loaded.spawn)


async def test_C3_C12_C13_D1_kill_9_of_each_server_loses_nothing_and_doubles_nothing(
    tmp_path: Path, loaded: Nursery
) -> None:
    """With two Beats and two workers: each occurrence fires once."""
    steps = [Step(fault="kill", part=name, seconds=2) for name in SERVERS]
    scale = {"scheduler-service": 2, "celery-worker": 2}
    await weather(tmp_path, steps, seed=storm_seed(), spawn=loaded.spawn, gap_seconds=3, scale=scale)


async def test_C10_a_frozen_pool_and_a_frozen_broker_do_no_harm(tmp_path: Path, loaded: Nursery) -> None:
    steps = [
        Step(fault="freeze", part="autonomous-agent-pool", seconds=6),
        Step(fault="freeze", part="rabbitmq", seconds=6),
    ]
    await weather(tmp_path, steps, seed=storm_seed(), spawn=loaded.spawn, gap_seconds=3)
