"""`callboard slack simulate`: what a person types into Slack, and what comes back, without Slack."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.embedded_process import Premises, running
from tests.support.servers.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

STANDUP = """\
name: standup
agent_type: reporter
execution_mode: autonomous
llm_config: {provider: scripted, model_id: script, script: [{say: "heard: {input}"}]}
slack: {commands: [/standup]}
"""


async def test_a_simulated_slash_command_is_answered(tmp_path: Path) -> None:
    premises = Premises(tmp_path, {"SLACK_API_URL": f"http://127.0.0.1:{free_port()}/api/"})
    premises.add_agents(standup=STANDUP)
    async with running(premises) as process:
        ran = await asyncio.to_thread(
            premises.command, "slack", "simulate", "/standup hello", "-o", "json", "--gateway", process.url
        )
        assert ran.returncode == 0, ran.stderr
        told = json.loads(ran.stdout)
        assert told["status"] == 200
        assert "heard: hello" in told["answer"]["shown"]
        forged = await asyncio.to_thread(
            premises.command,
            "slack",
            "simulate",
            "/standup hello",
            CALLBOARD_API_URL=process.url,
            SLACK_SIGNING_SECRET="another",
        )
        assert forged.returncode == 1
        assert "401" in forged.stderr
        unheard = await asyncio.to_thread(
            premises.command, "slack", "simulate", "hello", "--within", "0.3", "--gateway", process.url
        )
        assert unheard.returncode == 1
        assert "reaches only agents that subscribe" in unheard.stderr


PAINTER = """\
name: painter
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - call: {tool: chart, args: {kind: bar, title: Sold, x: [mon], series: [{name: sold, values: [3]}]}}
      say: "{result}"
tools: [chart]
slack: {commands: [/paint]}
"""


async def test_a_simulated_command_shows_the_files_of_its_answer(tmp_path: Path) -> None:
    premises = Premises(tmp_path, {"SLACK_API_URL": f"http://127.0.0.1:{free_port()}/api/"})
    premises.add_agents(painter=PAINTER)
    async with running(premises) as process:
        arguments = ("slack", "simulate", "/paint", "--gateway", process.url)
        ran = await asyncio.to_thread(premises.command, *arguments, "-o", "json", within=60.0)
        shown = await asyncio.to_thread(premises.command, *arguments, within=60.0)
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)["answer"]
    assert answer["text"].startswith("image: Sold.png\ndata: Sold.json\n")
    assert [file["name"] for file in answer["files"]] == ["Sold.png", "Sold.json"]
    assert "[file Sold.png, " in shown.stdout
