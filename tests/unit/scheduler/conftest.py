"""A house a test, closed afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.scheduler.house import House
from tests.unit.scheduler.making import utc


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Saturday 7 March 2026, half past eight in UTC."""
    opened = await House.open(tmp_path / "callboard.db", utc("2026-03-07T08:30"))
    yield opened
    await opened.database.close()
