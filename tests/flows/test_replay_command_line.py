"""Dry runs and replays as people ask for them, and the exit codes that scripts go by."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from callboard.cli.main import run_cli
from tests.support.system import callboard_at
from tests.support.tool_server import tool_server

AGENT = """
name: sender
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {call: {tool: http_post, args: {url: "URL/calls", body: "BODY {input}"}}, say: "It said: {result}"}
tools: [http_post]
"""


@pytest.mark.slow
async def test_flow_rehearsed_and_replayed_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def shell(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(run_cli, arguments)
        return code, capsys.readouterr().out

    async with tool_server() as world:
        monkeypatch.setenv("CALLBOARD_HTTP_ALLOW", world.authority)
        async with callboard_at(tmp_path) as callboard:
            monkeypatch.chdir(tmp_path)
            monkeypatch.setenv("CALLBOARD_API_URL", callboard.url)
            text = AGENT.replace("URL", world.url)
            await callboard.write("sender", text.replace("BODY", "dear"))

            code, out = await shell("run", "sender", "all", "--dry-run")
            assert (code, world.calls) == (0, [])
            assert f'would do:  http_post {{"url":"{world.url}/calls","body":"dear all"}}' in out
            code, out = await shell("run", "sender", "all", "--dry-run", "-o", "json")
            assert (code, [each["tool"] for each in json.loads(out)["would_do"]]) == (0, ["http_post"])

            task = await callboard.invoke("sender", "all")
            await callboard.ended(task)
            code, out = await shell("runs", "replay", task)
            assert code == 0
            for told in ("verdict  came to the same", "status   succeeded both times", "same", "would do:  nothing"):
                assert told in out
            await callboard.write("sender", text.replace("BODY", "hated"))
            code, out = await shell("runs", "replay", task, "--agent-version", "2")
            assert code == 1
            for told in (
                "came to something else",
                "agent_version=2",
                "changed",
                "-It said: noted dear all",
                "would do:",
            ):
                assert told in out
            code, out = await shell("runs", "replay", task, "--model", "scripted/echo", "-o", "json")
            compared = json.loads(out)
            assert (code, compared["equal"], compared["variant"]["model"]) == (1, False, "scripted/echo")
            code, out = await shell("runs", "compare", compared["run_id"], "-o", "json")
            assert (code, json.loads(out)) == (1, compared)
            code, out = await shell("runs", "replay", task, "--no-wait", "-o", "json")
            assert (code, json.loads(out)["replay_of"]) == (0, task)
            await callboard.ended(json.loads(out)["task_id"])
            assert (await shell("runs", "replay", "0" * 32))[0] == 3
            assert (await shell("runs", "replay", task, "--model", "no-model"))[0] == 2
            code, out = await shell("trace", (await callboard.get(f"runs/{task}"))["trace_id"])
            assert "would_do" in out
            assert [call.body for call in world.calls] == ["dear all"]
