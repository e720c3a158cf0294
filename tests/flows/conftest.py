"""A whole system, as a fixture: embedded in the test's own process, and a process a role over real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.distributed.fresh import fresh_servers
from tests.support.distributed.nursery import Nursery, nursery
from tests.support.distributed.start import distributed
from tests.support.system import Callboard, Start, callboard_at, start_embedded
from tests.support.tool_server import ToolServer, tool_server


@pytest.fixture(scope="session")
def loaded() -> Iterator[Nursery]:
    """Forks roles that need not load their libraries any more."""
    with nursery() as running:
        yield running


@pytest.fixture(
    params=["embedded", pytest.param("distributed", marks=[pytest.mark.distributed, pytest.mark.timeout(120)])]
)
async def start(request: pytest.FixtureRequest) -> AsyncIterator[Start]:
    """How a system is started."""
    if request.param == "embedded":
        yield start_embedded
        return
    running: Nursery = request.getfixturevalue("loaded")
    async with fresh_servers() as servers:
        yield distributed(servers, running.spawn)


@pytest.fixture
async def callboard(tmp_path: Path, start: Start) -> AsyncIterator[Callboard]:
    """A running system without agents."""
    async with callboard_at(tmp_path, start) as running:
        yield running


@pytest.fixture
async def world() -> AsyncIterator[ToolServer]:
    """What calls of tools reach and change."""
    async with tool_server() as server:
        yield server


@pytest.fixture
async def callboard_in_world(
    tmp_path: Path, world: ToolServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callboard]:
    """An embedded system without agents, whose tools may reach that world."""
    monkeypatch.setenv("CALLBOARD_HTTP_ALLOW", world.authority)
    async with callboard_at(tmp_path) as running:
        yield running
