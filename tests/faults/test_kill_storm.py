"""`kill -9` at any moment under mixed load, and a restart: everything accepted ends once, with its answer.

The moments are seven tests of three kills each, so that they run beside each other; a run that loses four processes
ends as `worker_lost`, which is another promise. A failure prints the seed; `CALLBOARD_STORM_SEED` repeats it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard.integrations.slack_local import LocalSlack
from tests.support import storm as storms
from tests.support.checker import check, come_to_rest, read_records
from tests.support.embedded_process import EmbeddedProcess, Premises, invoke, launch, result
from tests.support.storm import Storm
from tests.support.tool_server import ToolServer, tool_server
from tests.support.waiting import wait_until

# Each kill is the start of a Python that loads everything: seconds of CPU, which three other tests want too.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

KILLS = 3
PARTS = 7
REQUESTS = 200
SPREAD_SECONDS = 1.0
LATEST_KILL_SECONDS = 2.5


@pytest.mark.parametrize("part", range(PARTS))
async def test_a_kill_at_any_moment_loses_nothing_and_doubles_nothing(tmp_path: Path, part: int) -> None:
    seed = int(os.environ.get("CALLBOARD_STORM_SEED", secrets.randbits(32)))
    print(f"CALLBOARD_STORM_SEED={seed} part {part}")  # shown with a failure
    chance = random.Random(seed * PARTS + part)  # noqa: S311  # moments, not secrets
    async with LocalSlack() as slack, tool_server() as tools:
        premises = Premises(tmp_path, {"SLACK_API_URL": slack.api_url, "CALLBOARD_HTTP_ALLOW": tools.authority})
        premises.add_agents(**storms.agents(tools.url))
        storm = Storm(slack, chance)
        async with contextlib.AsyncExitStack() as stack:
            async with _clicking(storm):
                last = await _rounds(premises, storm, chance)
                stack.callback(last.kill)
                async with last.client() as client:
                    paused = await client.post("/api/v1/schedules/pulse/pause", json={})
                    assert paused.status_code == 200, paused.text
                await come_to_rest(premises, last)
            # Nobody clicks any more: what the last clicks have brought about comes to rest too.
            await come_to_rest(premises, last)
            found = check(storm.ledger, slack.messages, tools, await read_records(premises))
            assert not found.report, f"seed {seed} part {part}: {found.report}"
            _enough_happened(storm, tools)


@pytest.mark.parametrize(("kills", "runs"), [(1, 20), (2, 5)])
async def test_what_was_under_way_comes_back_after_a_crash(tmp_path: Path, kills: int, runs: int) -> None:
    """Runs of a second: all at once after the first crash, one by one from the second on."""
    premises = Premises(tmp_path)
    premises.add_agents(slow=storms.agents("")["slow"].replace("0.15", "1"))
    process = launch(premises)
    try:
        await process.ready()
        async with process.client() as client:
            tasks = [await invoke(client, "slow", f"text {number}") for number in range(runs)]
        for _ in range(kills):
            await wait_until(lambda: _running(premises) == len(tasks), "all are under way")
            process.kill()
            process = launch(premises)
            await process.ready()
        if kills == 1:
            await wait_until(lambda: _running(premises) > 1, "they come back together")
        async with process.client() as client:
            for task in tasks:
                assert (await result(client, task))["status"] == "succeeded"
    finally:
        process.kill()


def _running(premises: Premises) -> int:
    return int(premises.rows("SELECT count(*) FROM runs WHERE status = 'running'")[0][0])


async def _rounds(premises: Premises, storm: Storm, chance: random.Random) -> EmbeddedProcess:
    """Start, send, kill at a random moment, several times; then a start after which every sender has its answer."""
    async with asyncio.TaskGroup() as tasks:
        for number in range(KILLS):
            process = launch(premises)
            try:
                if number == 1 and chance.random() < 0.5:
                    # In the middle of taking over what the one before has left.
                    await process.kill_after(chance.uniform(0.5, 3.0))
                    continue
                await process.ready()
                await storm.against(process)
                storm.round(number, REQUESTS, SPREAD_SECONDS, tasks)
                await process.kill_after(chance.uniform(0.05, LATEST_KILL_SECONDS))
            finally:
                storm.down()
                process.kill()
        last = launch(premises)
        await last.ready()
        await storm.against(last)
    return last


def _enough_happened(storm: Storm, tools: ToolServer) -> None:
    """A storm that killed before anything was accepted would prove nothing."""
    accepted = sum(sent.accepted for sent in storm.ledger)
    assert accepted > len(storm.ledger) / 3, f"{accepted} of {len(storm.ledger)} accepted"
    assert len(tools.calls) > 10


@contextlib.asynccontextmanager
async def _clicking(storm: Storm) -> AsyncIterator[None]:
    person = asyncio.create_task(storm.click_questions())
    try:
        yield
    finally:
        person.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await person
        await storm.close()
