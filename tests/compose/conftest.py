"""One stack for all tests of this folder: images built, services started as a person would."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from callboard.integrations.slack_local import LocalSlack
from tests.compose.team import MINUTELY, PRICES, Team
from tests.support.compose.engine import need_engine
from tests.support.compose.stack import Stack


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Every service, healthy. When a test failed, what they complained about is shown before they go."""
    need_engine()
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("one stack is enough for a machine: .venv/bin/pytest tests/compose (scripts/test runs it so)")
    running = Stack(tmp_path_factory.mktemp("clone"))
    try:
        running.build()
        (running.folder / "config/agents/minutely.yaml").write_text(MINUTELY)
        (running.folder / "config/models.yaml").write_text(PRICES)
        running.up()
        yield running
    finally:
        if request.session.testsfailed or running.unhealthy():
            request.config.get_terminal_writer().write(f"\n{running.complaints()}\n")
        running.down()


@pytest.fixture
async def team(stack: Stack) -> AsyncIterator[Team]:
    """The people around the stack: their Slack, their API token, their folder of agent files."""
    bound = "0.0.0.0" if stack.slack_host == "host.docker.internal" else stack.slack_host  # noqa: S104
    async with LocalSlack(host=bound, port=stack.slack_port, token=stack.secrets["SLACK_BOT_TOKEN"]) as slack:
        yield Team(stack, slack)
