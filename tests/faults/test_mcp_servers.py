"""Callboard ends in the worst ways, and no server that it has started outlives it; a call is not made twice."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.support.embedded_process import Premises, invoke, result
from tests.support.mcp_world import Script, is_alive, listed, script_at
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

AGENT = """
name: worker
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {{when: hang, call: {{tool: files__hang}}, say: "Got {{result}}"}}
    - {{call: {{tool: files__echo}}, say: "Got {{result}}"}}
tools:
  - mcp: {{name: files, command: {command}}}
"""


def premises_at(folder: Path, server: Script) -> Premises:
    premises = Premises(folder / "system", {"CALLBOARD_MCP_COMMANDS": sys.executable})
    premises.add_agents(worker=AGENT.format(command=json.dumps(server.command)))
    return premises


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_I16_a_server_and_what_it_has_started_end_with_callboard(tmp_path: Path, how: signal.Signals) -> None:
    server = script_at(tmp_path / "files", listed("echo"))
    (server.folder / "stubborn").touch()
    premises = premises_at(tmp_path, server)
    async with premises.running() as process:
        async with process.client() as client:
            ended = await result(client, await invoke(client, "worker", "go"))
            assert ended["output"] == "Got echo {}", ended
        assert len(server.pids) == 2
        process.send(how)
        code = await process.exit_code()
        assert code == (-9 if how is signal.SIGKILL else 0), process.told
    await wait_until(lambda: not any(is_alive(pid) for pid in server.pids), "the server and its child are gone")


async def test_G6_a_call_that_was_under_way_at_a_kill_is_asked_about_and_not_made_twice(tmp_path: Path) -> None:
    server = script_at(tmp_path / "files", listed("hang"), listed("echo"))
    premises = premises_at(tmp_path, server)
    async with premises.running() as process:
        async with process.client() as client:
            task = await invoke(client, "worker", "hang")
        await wait_until(lambda: server.calls, "the call has arrived")
        process.kill()
    async with premises.running() as process:
        async with process.client() as client:

            async def waits() -> bool:
                status = (await client.get(f"/api/v1/agents/status/{task}")).json()
                return bool(status["status"] == "waiting")

            await wait_until(waits, "the run asks", within=30.0)
        assert len(server.calls) == 1
