"""A model provider that goes away, and comes back: what people see of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from callboard.bootstrap.tuning import Tuning
from callboard.llm.circuit_breaker import BreakerSettings
from callboard.retry import Backoff
from tests.support.model_servers.openai_wire import OpenAIWire
from tests.support.model_servers.server import MODEL, RIGHT_KEY, ModelServer, model_server
from tests.support.model_servers.wire import Fault
from tests.support.system import Callboard, callboard_at, start_embedded
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
QUICK = Tuning(breaker=BreakerSettings(failures=5, opening=Backoff(first_seconds=6.0, cap_seconds=6.0, jitter=0.0)))


def agent(name: str, url: str, *more: str) -> str:
    return f"""
name: {name}
agent_type: assistant
execution_mode: autonomous
llm_config:
  provider: openai
  model_id: {MODEL}
  base_url: {url}/v1
  {" ".join(more)}
slack: {{commands: [/{name}]}}
"""


@pytest.fixture
async def provider() -> AsyncIterator[ModelServer]:
    async with model_server(OpenAIWire()) as server:
        yield server


@pytest.fixture
async def callboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callboard]:
    monkeypatch.setenv("OPENAI_API_KEY", RIGHT_KEY)
    monkeypatch.setenv("CALLBOARD_POOL_CONCURRENCY", "210")  # room beside the 200 of G3
    async with callboard_at(tmp_path, partial(start_embedded, tuning=QUICK)) as running:
        yield running


async def waits_for_provider(callboard: Callboard, task: str) -> dict[str, Any]:
    async def waiting() -> dict[str, Any] | None:
        status: dict[str, Any] = await callboard.get(f"agents/status/{task}")
        return status if status["status"] == "waiting" else None

    found = await wait_until(waiting, f"{task} waits")
    assert found
    return dict(found)


async def test_G2_a_model_that_is_down_is_stood_in_for_by_the_next(callboard: Callboard, provider: ModelServer) -> None:
    provider.faults = [Fault(status=503)] * 20
    await callboard.write(
        "helper",
        agent("helper", provider.url, 'fallback: [{provider: scripted, model_id: script, script: [{say: "B"}]}]'),
    )
    for _ in range(6):
        task = await callboard.invoke("helper", "hello")
        assert (await callboard.ended(task))["output"] == "B"
    assert len(provider.asked) == 5
    first, second = (await callboard.get("agents/helper"))["models"]
    assert (first["provider"], first["status"], second["status"]) == ("openai", "left_alone", "available")
    assert "503" in first["reason"]
    metrics = (await callboard.call("GET", "/metrics")).text
    address = provider.url.removeprefix("http://")
    assert f'llm_breaker_open{{provider="openai@{address}"}} 1.0' in metrics


async def test_G2_with_all_models_down_runs_wait_tell_it_once_and_are_answered_when_one_is_back(
    callboard: Callboard, provider: ModelServer
) -> None:
    provider.faults = [Fault(status=503)] * 1000
    await callboard.write("helper", agent("helper", provider.url))
    async with callboard.person() as anna:
        await anna.command("/helper hello")
        tasks = [await callboard.invoke("helper", f"question {number}") for number in range(8)]
        status = await waits_for_provider(callboard, tasks[-1])
        assert status["waiting_for"]["kind"] == "provider"
        assert status["attempt"] <= 1
        notice = await callboard.message(lambda message: "waits for the model provider" in message.text, "the notice")
        assert notice.text.startswith("helper: ")
        asked = len(provider.asked)
        assert asked <= 20

        provider.faults = []
        await callboard.message(lambda message: message.text == "You said: hello", "the answer")
    for number, task in enumerate(tasks):
        assert (await callboard.ended(task))["output"] == f"You said: question {number}"
    told = [message for message in callboard.slack.messages if "waits for the model provider" in message.text]
    assert len(told) == 1
    (run, *_) = await callboard.runs_of("helper")
    assert run["attempt"] == 1
    metrics = (await callboard.call("GET", "/metrics")).text
    assert f'llm_breaker_open{{provider="openai@{provider.url.removeprefix("http://")}"}} 0.0' in metrics


async def test_a_waiting_run_can_be_cancelled(callboard: Callboard, provider: ModelServer) -> None:
    provider.faults = [Fault(status=503)] * 1000
    await callboard.write("helper", agent("helper", provider.url))
    tasks = [await callboard.invoke("helper", f"question {number}") for number in range(6)]
    await waits_for_provider(callboard, tasks[0])
    await callboard.post(f"agents/cancel/{tasks[0]}")
    assert (await callboard.ended(tasks[0]))["status"] == "cancelled"


async def test_a_request_that_the_provider_refuses_fails_at_once_and_holds_up_nobody(
    callboard: Callboard, provider: ModelServer
) -> None:
    provider.faults = [Fault(status=400)] * 6
    await callboard.write("helper", agent("helper", provider.url))
    for _ in range(6):
        result = await callboard.ended(await callboard.invoke("helper", "bad"))
        assert result["error"]["code"] == "provider_invalid_request"
    assert (await callboard.ended(await callboard.invoke("helper", "good")))["output"] == "You said: good"
    assert len(provider.asked) == 7


async def test_G3_many_runs_on_a_slow_model_leave_the_rest_alone_and_can_be_cancelled(
    callboard: Callboard, provider: ModelServer
) -> None:
    provider.faults = [Fault(wait_seconds=120.0)] * 200
    await callboard.write("slow", agent("slow", provider.url))
    await callboard.write(
        "quick",
        "name: quick\nagent_type: a\nexecution_mode: autonomous\nllm_config: {provider: scripted, model_id: echo}\n"
        "slack: {commands: [/quick]}\n",
    )
    tasks = [await callboard.invoke("slow", f"question {number}") for number in range(200)]
    await wait_until(lambda: len(provider.asked) == 200, "all of them are with the model", within=40.0)

    health = await callboard.call("GET", "/health")
    assert health.status_code == 200
    assert (await callboard.ended(await callboard.invoke("quick", "now")))["output"] == "now"
    slowest = 0.0
    async with callboard.person() as anna:
        for number in range(20):
            begun = time.monotonic()
            await anna.command(f"/quick line {number}")
            slowest = max(slowest, time.monotonic() - begun)
    assert slowest < 3.0, "Slack gives up after 3 s"

    await asyncio.gather(*(callboard.post(f"agents/cancel/{task}") for task in tasks))
    for task in tasks:
        assert (await callboard.ended(task))["status"] == "cancelled"
    await wait_until(lambda: provider.hung_up == 200, "the calls are given up")
