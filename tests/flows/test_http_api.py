"""An API call to its result, over `callboard up` and over a process a role: questions, progress, restarts, story."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from callboard.logs import read_log
from tests.support.distributed.fresh import fresh_servers
from tests.support.distributed.premises import DistributedPremises
from tests.support.embedded_process import Premises, invoke, result
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ECHO = """\
name: echo
agent_type: helper
execution_mode: autonomous
llm_config: {provider: scripted, model_id: echo}
"""
GUIDE = """\
name: guide
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {when: slow, wait_seconds: 60, say: done}
    - {when: ask, ask: {question: "Which city?", options: [Berlin, Paris]}, say: "You said {answer}."}
    - {say: "{input}"}
"""


@pytest.fixture(params=["embedded", pytest.param("distributed", marks=[pytest.mark.distributed])])
async def premises(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Premises]:
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "embedded":
            made = Premises(tmp_path)
        else:
            servers = await stack.enter_async_context(fresh_servers())
            made = DistributedPremises(tmp_path, servers=servers, spawn=request.getfixturevalue("loaded").spawn)
        made.add_agents(echo=ECHO, guide=GUIDE)
        yield made


async def test_an_api_call_comes_to_its_result_and_its_whole_story_is_there(premises: Premises) -> None:
    async with premises.running() as process, process.client() as client:
        tasks = [await invoke(client, "echo", f"hello {number}") for number in range(30)]
        for number, task in enumerate(tasks):
            assert (await result(client, task))["output"] == f"hello {number}"
        traces = [await _whole_story(premises, client, task) for task in tasks]
        traced = premises.command("trace", traces[0], CALLBOARD_API_URL=process.url)
        assert "run echo  succeeded" in traced.stdout
        waited = premises.command("run", "echo", "from the shell", "--wait", CALLBOARD_API_URL=process.url)
        assert (waited.returncode, waited.stdout) == (0, "from the shell\n"), waited.stderr
        logged = premises.command("logs", traces[0])
        assert "run succeeded" in logged.stdout


async def test_a_question_is_seen_in_the_progress_and_the_first_answer_wins(premises: Premises) -> None:
    async with premises.running() as process, process.client() as client:
        task = await invoke(client, "guide", "ask me")
        seen: list[tuple[str, dict[str, Any]]] = []
        watching = asyncio.create_task(_watch(client, task, seen))
        await wait_until(lambda: _statuses(seen)[-1:] == ["waiting"], "the stream says that the run waits")
        status = (await client.get(f"/api/v1/agents/status/{task}")).json()
        assert status["waiting_for"]["kind"] == "clarification"
        wrong = await client.post(f"/api/v1/agents/approve/{task}", json={"answer": "Rome"})
        assert wrong.status_code == 422
        answers = await asyncio.gather(
            *(client.post(f"/api/v1/agents/approve/{task}", json={"answer": city}) for city in ("Berlin", "Paris"))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        won = next(answer for answer in answers if answer.status_code == 200).json()["answer"]
        assert (await result(client, task))["output"] == f"You said {won}."
        await watching
        assert seen[-1][0] == "end"
        assert seen[-1][1]["output"] == f"You said {won}."


async def test_what_was_accepted_survives_kill_9_and_the_same_key_is_still_the_same_task(premises: Premises) -> None:
    async with premises.running() as first, first.client() as client:
        task = await invoke(client, "guide", "hello", idempotency_key="k")
        asked = await invoke(client, "guide", "ask me")
        await wait_until(lambda: _is(client, asked, "waiting"), "the run waits")
        seen: list[tuple[str, dict[str, Any]]] = []
        watching = asyncio.create_task(_watch(client, asked, seen))
        await wait_until(lambda: _statuses(seen)[-1:] == ["waiting"], "the stream says that the run waits")
        first.kill()
        with pytest.raises(httpx2.TransportError):
            await watching
    async with premises.running() as second, second.client() as client:
        assert await invoke(client, "guide", "hello", idempotency_key="k") == task
        assert (await result(client, task))["output"] == "hello"
        other = {"agent": "guide", "input": "something else", "idempotency_key": "k"}
        assert (await client.post("/api/v1/agents/invoke", json=other)).status_code == 409
        await client.post(f"/api/v1/agents/approve/{asked}", json={"answer": "Paris"})
        rest: list[tuple[str, dict[str, Any]]] = []
        await _watch(client, asked, rest, after=seen[-1][1]["n"])
        assert "waiting" not in _statuses(rest)
        assert rest[-1][1]["output"] == "You said Paris."


async def test_a_running_task_is_cancelled_within_a_moment(premises: Premises) -> None:
    async with premises.running() as process, process.client() as client:
        task = await invoke(client, "guide", "slow")
        await wait_until(lambda: _is(client, task, "running"), "the run is under way")
        assert (await client.post(f"/api/v1/agents/cancel/{task}")).status_code == 202
        assert (await result(client, task))["status"] == "cancelled"


async def test_an_open_stream_does_not_hold_up_a_stop(premises: Premises) -> None:
    async with premises.running() as process, process.client() as client:
        task = await invoke(client, "guide", "ask me")
        async with client.stream("GET", f"/api/v1/runs/{task}/events") as response:
            assert response.status_code == 200
            process.send(signal.SIGTERM)
            assert [line async for line in response.aiter_lines() if line == "event: end"] == []
        assert await process.exit_code(within=30.0) == 0, process.told


async def test_a_client_that_guesses_gets_no_stack_trace_and_no_secret(premises: Premises) -> None:
    async with premises.running(CALLBOARD_API_TOKEN="canary-of-the-api") as process:
        async with process.client() as client:
            for path in ("/api/v1/agents", "/api/v1/openapi.json", "/health", "/metrics", "/docs", "/.env"):
                answer = await client.get(path)
                assert "canary-of-the-api" not in answer.text
                assert "Traceback" not in answer.text
                assert answer.status_code == {"/health": 200, "/metrics": 200}.get(path, 401 if "/api" in path else 404)
        assert "canary-of-the-api" not in "\n".join(process.lines)


async def _whole_story(premises: Premises, client: httpx2.AsyncClient, task: str) -> str:
    """The trace id of a task of which everything is on record."""
    trace_id = str((await client.get(f"/api/v1/agents/status/{task}")).json()["trace_id"])
    (event,) = (await client.get(f"/api/v1/traces/{trace_id}")).json()["tree"]
    (run,) = event["children"]
    assert (run["id"], run["status"]) == (task, "succeeded")
    assert [child["kind"] for child in run["children"]] == ["model"]
    await wait_until(lambda: _stages(premises, trace_id) == 4, "every stage is in the log")
    return trace_id


def _stages(premises: Premises, trace_id: str) -> int:
    """How many of the stages of a run the log has under this trace id."""
    wanted = {"task accepted", "event routed", "run started", "run succeeded"}
    return len(wanted & {record["message"] for record in read_log(premises.logs, trace_id)})


async def _is(client: httpx2.AsyncClient, task: str, status: str) -> bool:
    return bool((await client.get(f"/api/v1/agents/status/{task}")).json()["status"] == status)


def _statuses(seen: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [line["data"]["status"] for name, line in seen if name == "status"]


async def _watch(client: httpx2.AsyncClient, task: str, seen: list[tuple[str, dict[str, Any]]], after: int = 0) -> None:
    headers = {"last-event-id": str(after)}
    async with client.stream("GET", f"/api/v1/runs/{task}/events", headers=headers, timeout=60) as response:
        name = ""
        async for line in response.aiter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                seen.append((name, json.loads(value)))
