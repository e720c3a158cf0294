"""SIGTERM under load (RELIABILITY.md C10 and I16, embedded): no new work, what runs ends or is handed back, exit 0."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import httpx2
import pytest

from callboard.integrations.slack_local import LocalSlack
from tests.support import storm as storms
from tests.support.checker import check, come_to_rest, read_records
from tests.support.embedded_process import EmbeddedProcess, Premises, invoke, launch, result, running
from tests.support.storm import Storm
from tests.support.tool_server import tool_server
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

SLEEPER = """\
name: sleeper
agent_type: demo
execution_mode: autonomous
llm_config: {provider: scripted, model_id: script, script: [{wait_seconds: 2, say: "{input}"}]}
"""
STUBBORN = """\
name: stubborn
agent_type: demo
execution_mode: autonomous
llm_config: {provider: scripted, model_id: script, script: [{wait_seconds: 300, say: "{input}"}]}
limits: {timeout_seconds: 600}
"""


def _runs(premises: Premises) -> dict[str, int]:
    return {row[0]: row[1] for row in premises.rows("SELECT status, count(*) FROM runs GROUP BY status")}


async def _started(premises: Premises, number: int) -> None:
    await wait_until(lambda: _runs(premises).get("running", 0) == number, f"{number} runs are under way")


async def test_C10_a_stop_under_load_ends_in_time_and_the_restart_completes_everything(tmp_path: Path) -> None:
    async with LocalSlack() as slack, tool_server() as tools:
        premises = Premises(tmp_path, {"SLACK_API_URL": slack.api_url, "CALLBOARD_HTTP_ALLOW": tools.authority})
        premises.add_agents(**{name: text for name, text in storms.agents(tools.url).items() if name != "pulse"})
        storm = Storm(slack, random.Random(1))  # noqa: S311  # nothing is left to chance here
        try:
            async with asyncio.TaskGroup() as tasks:
                async with running(premises, CALLBOARD_DRAIN_SECONDS="10") as first:
                    await storm.against(first)
                    storm.round(0, 200, 1.0, tasks)
                    await wait_until(lambda: sum(sent.accepted for sent in storm.ledger) > 80, "work is under way")
                    first.send(signal.SIGTERM)
                    assert await first.exit_code(within=30.0) == 0, first.told
                    storm.down()
                assert "running" not in _runs(premises)
                second = launch(premises)
                await second.ready()
                await storm.against(second)
            await come_to_rest(premises, second)
            found = check(storm.ledger, slack.messages, tools, await read_records(premises))
            assert not found.report, found.report
            assert not premises.rows("SELECT 1 FROM runs WHERE lease_losses > 0"), "a clean stop counts no loss"
            second.kill()
        finally:
            await storm.close()


async def test_I16_what_ends_in_time_is_finished_before_the_process_ends(tmp_path: Path) -> None:
    premises = Premises(tmp_path)
    premises.add_agents(sleeper=SLEEPER)
    async with running(premises, CALLBOARD_DRAIN_SECONDS="20") as process, process.client() as client:
        tasks = [await invoke(client, "sleeper", f"text {number}") for number in range(20)]
        await _started(premises, len(tasks))
        process.send(signal.SIGTERM)
        assert await process.exit_code() == 0, process.told
    assert _runs(premises) == {"succeeded": len(tasks)}


async def test_I16_what_takes_longer_is_handed_back_and_counts_as_no_loss(tmp_path: Path) -> None:
    premises = Premises(tmp_path)
    premises.add_agents(stubborn=STUBBORN)
    async with running(premises, CALLBOARD_DRAIN_SECONDS="3") as process, process.client() as client:
        tasks = [await invoke(client, "stubborn", f"text {number}") for number in range(20)]
        await _started(premises, len(tasks))
        process.send(signal.SIGTERM)
        await process.logged("stopping")
        await _takes_no_new_work(process)
        assert await process.exit_code() == 0, process.told
    assert _runs(premises) == {"queued": len(tasks)}
    premises.add_agents(stubborn=STUBBORN.replace("300", "0"))
    # A run keeps the version it began with, so it is cancelled rather than waited for.
    async with running(premises) as again, again.client() as client:
        await _started(premises, len(tasks))
        assert not premises.rows("SELECT 1 FROM runs WHERE lease_losses > 0 OR failures > 0")
        for task in tasks:
            assert (await client.post(f"/api/v1/agents/cancel/{task}", json={})).status_code == 202
        for task in tasks:
            assert (await result(client, task))["status"] == "cancelled"
        new = await invoke(client, "stubborn", "short")
        assert (await result(client, new))["output"] == "short"


async def test_a_second_signal_forces_the_end(tmp_path: Path) -> None:
    premises = Premises(tmp_path)
    premises.add_agents(stubborn=STUBBORN)
    async with running(premises, CALLBOARD_DRAIN_SECONDS="60") as process, process.client() as client:
        task = await invoke(client, "stubborn", "long")
        await _started(premises, 1)
        process.send(signal.SIGTERM)
        await process.logged("stopping")
        process.send(signal.SIGTERM)
        assert await process.exit_code(within=30.0) == 1, process.told
        assert "Traceback" not in process.err.read_text()
    async with running(premises) as again, again.client() as client:
        await _started(premises, 1)
        status = (await client.get(f"/api/v1/agents/status/{task}")).json()
        assert status["status"] == "running"


async def test_a_process_that_was_frozen_goes_on_and_does_not_think_itself_dead(tmp_path: Path) -> None:
    premises = Premises(tmp_path, {"CALLBOARD_LEASE_BEAT_SECONDS": "0.3", "CALLBOARD_LEASE_DEAD_SECONDS": "1"})
    premises.add_agents(sleeper=SLEEPER)
    async with running(premises) as process, process.client() as client:
        tasks = [await invoke(client, "sleeper", f"text {number}") for number in range(5)]
        await _started(premises, len(tasks))
        await process.freeze(4)
        tasks.append(await invoke(client, "sleeper", "after"))
        for task in tasks:
            assert (await result(client, task))["status"] == "succeeded"
        assert not premises.rows("SELECT 1 FROM runs WHERE lease_losses > 0 OR fencing > 1")
        assert process.process.poll() is None, process.told


async def test_ctrl_c_drains_like_a_stop(tmp_path: Path) -> None:
    premises = Premises(tmp_path)
    async with running(premises) as process:
        process.send(signal.SIGINT)
        assert await process.exit_code(within=30.0) == 0, process.told
        assert not process.err.read_text()


async def _takes_no_new_work(process: EmbeddedProcess) -> None:
    async with process.client() as client:
        try:
            answer = await client.post("/api/v1/agents/invoke", json={"agent": "stubborn", "input": "late"})
        except httpx2.TransportError:
            return
        assert answer.status_code == 503, "a process that is stopping accepted work"
