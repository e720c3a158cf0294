"""One suite, every adapter: a new adapter is one more entry, never one more suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.databases import DATABASES, AnyDatabase
from tests.support.state_house import StateHouse


@pytest.fixture(params=sorted(DATABASES))
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AnyDatabase]:
    async with DATABASES[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
async def house(database: AnyDatabase) -> StateHouse:
    return await StateHouse(database).open()
