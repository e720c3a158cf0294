"""Routers, workers, people, takeovers and zombies in a random order leave I1 to I6 standing (issue 2, point 3).

`CALLBOARD_PROPERTY_SEEDS=200 CALLBOARD_PROPERTY_TICKS=600 pytest tests/faults/test_runs_property.py` looks for longer.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from callboard.state.database import Database
from callboard.state.runs import RunStatus
from tests.faults.run_driver import Driver
from tests.faults.run_invariants import Watcher, check_at_the_end
from tests.support.databases import open_three_postgres
from tests.support.sqlite_file import open_sqlite
from tests.support.state_house import StateHouse

SEEDS = int(os.environ.get("CALLBOARD_PROPERTY_SEEDS", "3"))
TICKS = int(os.environ.get("CALLBOARD_PROPERTY_TICKS", "150"))


ADAPTERS: dict[str, Callable[[Path], AbstractAsyncContextManager[Database]]] = {
    "sqlite": open_sqlite,
    "three-processes": open_three_postgres,
}


@pytest.mark.slow
@pytest.mark.timeout(180 if TICKS <= 150 else 3600)
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("number", range(SEEDS))
async def test_every_order_of_events_keeps_the_invariants(adapter: str, number: int, tmp_path: Path) -> None:
    given = os.environ.get("CALLBOARD_PROPERTY_SEED")
    seed = int(given) + number if given else secrets.randbelow(2**32)
    print(f"seed: CALLBOARD_PROPERTY_SEED={seed}")  # shown with a failure
    async with ADAPTERS[adapter](tmp_path) as database:
        house = await StateHouse(database).open()
        driver, watcher = Driver(house, seed), Watcher(house)
        for _ in range(TICKS):
            await driver.tick()
            await watcher.look()
        await driver.settle_down()
        await watcher.look()
        await check_at_the_end(house, driver.ledger)
    done = driver.ledger.done
    assert done[RunStatus.SUCCEEDED.value] > TICKS / 10, done
    assert done["lost"], done
