"""What holds for every test: no network beyond this machine, nothing left running, failures that can be repeated."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.leaks import connections, left_open, left_over, started_since
from tests.support.loop_watch import loop_stays_free
from tests.support.network import only_this_machine

# No deadlines: a shared machine is slow at times. A failure prints the blob that repeats it (pytest-randomly the seed).
settings.register_profile("laptop", deadline=None, print_blob=True, max_examples=100)
settings.register_profile(
    "ci", deadline=None, print_blob=True, max_examples=200, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "laptop")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "loop_stays_free(limit_seconds=3.0): fails when the event loop stands still")


@pytest.fixture(scope="session", autouse=True)
def _blocked_connections() -> Iterator[list[str]]:
    tried: list[str] = []
    with only_this_machine(tried):
        yield tried


@pytest.fixture(autouse=True)
def _no_network(_blocked_connections: list[str]) -> Iterator[None]:
    _blocked_connections.clear()
    yield
    assert not _blocked_connections, f"the test tried to reach other machines: {', '.join(_blocked_connections)}"


@pytest.fixture(autouse=True)
def _no_threads_left(_no_network: None) -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = started_since(before)
    assert not left, f"the test left threads running: {', '.join(thread.name for thread in left)}"


@pytest.fixture(autouse=True)
def _async_checks(request: pytest.FixtureRequest, _no_threads_left: None) -> None:
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_nothing_left")
        if request.node.get_closest_marker("loop_stays_free") is not None:
            request.getfixturevalue("_loop_stays_free")


@pytest.fixture
async def _nothing_left() -> AsyncIterator[None]:
    before, open_before = asyncio.all_tasks(), connections()
    yield
    left, left_connections = await left_over(before), await left_open(open_before)
    assert not left, f"the test left tasks running: {', '.join(repr(task) for task in left)}"
    assert not left_connections, f"the test left connections open: {', '.join(left_connections)}"


@pytest.fixture
async def _loop_stays_free(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    marker = request.node.get_closest_marker("loop_stays_free")
    async with loop_stays_free(**(marker.kwargs if marker is not None else {})):
        yield
