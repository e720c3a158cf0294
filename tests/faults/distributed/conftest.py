"""What the trials of the distributed form share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.distributed.nursery import Nursery, nursery

pytest.register_assert_rewrite("tests.faults.distributed.storming")


@pytest.fixture(scope="session")
def loaded() -> Iterator[Nursery]:
    """Forks roles that need not load their libraries any more."""
    with nursery() as running:
        yield running


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The matrix takes an hour: it runs when it is named."""
    if "matrix" not in (config.option.markexpr or ""):
        items[:] = [item for item in items if item.get_closest_marker("matrix") is None]
