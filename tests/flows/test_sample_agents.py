"""The agents of config/agents, as they ship and with two lines changed for a real model."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.support.embedded_process import Premises, invoke, result, running
from tests.support.model_servers.openai_wire import OpenAIWire
from tests.support.model_servers.server import MODEL, RIGHT_KEY, model_server
from tests.support.model_servers.wire import Call, Fault, Says
from tests.support.processes import ROOT
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SAMPLES = ROOT / "config" / "agents"
FILES = sorted(SAMPLES.glob("*.yaml"))
REAL = {"provider": "openai", "model_id": MODEL}
WAITS_FOR_A_PERSON = {
    ("briefing", "Should we move our backups to another provider?"),
    ("incident_summarizer", "tell the team: checkout works again"),
    ("customer_support_agent", "I want a refund"),
}


async def test_every_sample_does_its_examples_without_a_model(tmp_path: Path) -> None:
    premises = Premises(tmp_path)
    shutil.copytree(SAMPLES, premises.agents, dirs_exist_ok=True)
    examples = [(agent["name"], text) for agent in map(_read, FILES) for text in agent.get("examples", ())]
    async with running(premises) as process, process.client() as client:
        statuses = {
            # A conversation each: what waits in one keeps nobody else.
            (name, text): await _settled(client, await invoke(client, name, text, conversation_id=f"c{number}"))
            for number, (name, text) in enumerate(examples)
        }
    assert statuses == {example: "waiting" if example in WAITS_FOR_A_PERSON else "succeeded" for example in statuses}, (
        process.told
    )


async def test_every_sample_works_with_a_real_model_once_two_lines_are_changed(tmp_path: Path) -> None:
    async with model_server(OpenAIWire()) as server:
        server.checks_key = True
        premises = Premises(tmp_path, {"OPENAI_API_KEY": RIGHT_KEY, "OPENAI_BASE_URL": f"{server.url}/v1"})
        shutil.copytree(SAMPLES, premises.agents, dirs_exist_ok=True)
        for file in FILES:
            _change_two_lines(premises.agents / file.name)
        async with running(premises) as process, process.client() as client:
            listed = (await client.get("/api/v1/agents")).json()["agents"]
            assert {agent["name"]: agent["status"] for agent in listed} == {
                _read(file)["name"]: "available" for file in FILES
            }
            ended = {name: await _done(client, name) for name in (agent["name"] for agent in listed)}
            server.faults.append(Fault(says=Says(calls=(_SUM,), finish="tool_calls")))
            calculated = await result(client, await invoke(client, "daily_report", "6, 7"))
    assert {name: end["status"] for name, end in ended.items()} == dict.fromkeys(ended, "succeeded"), process.told
    assert {name: str(end["output"]).partition(":")[0] for name, end in ended.items()} == dict.fromkeys(
        ended, "You said"
    )
    assert calculated["output"] == "I saw value: 42"
    assert {asked.model for asked in server.asked} == {MODEL}
    told = {message["content"] for asked in server.asked for message in asked.body["messages"]}
    assert all(any(_read(file).get("instructions", "") in each for each in told if each) for file in FILES)


_SUM = Call(name="run_python", arguments=json.dumps({"code": "6 * 7"}))


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


def _change_two_lines(file: Path) -> None:
    """As the comment at the two lines says."""
    before = file.read_text()
    text = before
    for key, value in REAL.items():
        text, count = re.subn(rf"(?m)^(  {key}: )\w+", rf"\g<1>{value}", text)
        assert count == 1, f"{file.name} has {count} lines for {key}"
    changed = [pair for pair in zip(before.splitlines(), text.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(changed) == 2
    file.write_text(text)


async def _done(client: httpx2.AsyncClient, agent: str) -> Mapping[str, Any]:
    """The result of a task; what a person has to approve is approved."""
    task = await invoke(client, agent, "hello")
    if await _settled(client, task) == "waiting":
        answer = await client.post(f"/api/v1/agents/approve/{task}", json={"answer": True})
        assert answer.status_code == 200, answer.text
    return await result(client, task)


async def _settled(client: httpx2.AsyncClient, task: str) -> str:
    """How a task stands once it has ended, or has asked."""

    async def stands() -> str | None:
        record = (await client.get(f"/api/v1/agents/status/{task}")).json()
        asked = (record.get("waiting_for") or {}).get("kind") in ("clarification", "approval")
        if asked or record["status"] not in ("queued", "running", "waiting"):
            return str(record["status"])
        return None

    status = await wait_until(stands, f"task {task} ends or asks", within=30.0)
    assert status is not None
    return status
