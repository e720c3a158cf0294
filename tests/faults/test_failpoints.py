"""Killed at the places where most would go wrong, twice, and started again: nothing lost, nothing done twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from pathlib import Path

import pytest

from callboard.integrations.slack_local import LocalSlack
from tests.support import storm as storms
from tests.support.checker import check, come_to_rest, read_records
from tests.support.embedded_process import Premises, launch, running
from tests.support.storm import Storm
from tests.support.tool_server import tool_server

# Each kill is the start of a Python that loads everything: seconds of CPU, which three other tests want too.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PLACES = (
    "store.accepted",
    "store.routed",
    "store.claimed",
    "store.settled",
    "tool.attempting",
    "tool.called",
    "tool.recorded",
    "outbox.told",
    "responder.attempting",
    "responder.sent",
)


@pytest.mark.parametrize("place", PLACES)
async def test_a_kill_at_the_worst_place_loses_nothing_and_doubles_nothing(tmp_path: Path, place: str) -> None:
    async with LocalSlack() as slack, tool_server() as tools:
        premises = Premises(tmp_path, {"SLACK_API_URL": slack.api_url, "CALLBOARD_HTTP_ALLOW": tools.authority})
        premises.add_agents(**{name: text for name, text in storms.agents(tools.url).items() if name != "pulse"})
        storm = Storm(slack, random.Random(0))  # noqa: S311  # nothing is left to chance here
        kills = 0
        async with running(premises) as first:
            first.send(signal.SIGTERM)
            assert await first.exit_code() == 0, first.told
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(2):
                    kills += await _until_killed(premises, storm, place, number, tasks)
                last = launch(premises)
                await last.ready()
                await storm.against(last)
        finally:
            await storm.close()
        try:
            assert kills, f"{place} was never reached"
            await come_to_rest(premises, last)
            found = check(storm.ledger, slack.messages, tools, await read_records(premises))
            assert not found.report, f"{place}: {found.report}"
        finally:
            last.kill()


async def _until_killed(premises: Premises, storm: Storm, place: str, number: int, tasks: asyncio.TaskGroup) -> bool:
    """Whether the process ended at that place, by itself, with a burst of requests under way."""
    process = launch(premises, CALLBOARD_FAILPOINT=place)
    by_itself = False
    try:
        # What was left by the process before may reach the place before this one is up.
        with contextlib.suppress(AssertionError):
            await process.ready(within=30.0)
            await storm.against(process)
            storm.burst(str(number), tasks)
            await process.exit_code(within=30.0)
    finally:
        storm.down()
        by_itself = process.process.poll() == -9
        process.kill()
    return by_itself
