"""Giving agents work over HTTP: invoke, status, result, approve, cancel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from callboard.state.clarifications import ClarificationKind
from callboard.state.registered_agents import AgentStatus
from callboard.state.runs import RunStatus
from callboard.state.told_answer import told_answer
from tests.support.api_house import ApiHouse, api_house

pytestmark = pytest.mark.slow

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
INVOKE = "/api/v1/agents/invoke"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[ApiHouse]:
    async with api_house(tmp_path) as house:
        yield house


@pytest.fixture
async def client(house: ApiHouse) -> AsyncIterator[httpx2.AsyncClient]:
    async with house.client() as client:
        yield client


async def test_an_accepted_task_is_queued_before_its_run_exists_and_has_a_result_after_it(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    accepted = await client.post(INVOKE, json={"agent": "echo", "input": "hello"}, headers={"traceparent": PARENT})
    assert accepted.status_code == 202
    task = accepted.json()["task_id"]
    assert accepted.json() == {"task_id": task, "trace_id": TRACE, "status": "queued"}

    status = (await client.get(f"/api/v1/agents/status/{task}")).json()
    assert (status["status"], status["agent"], status["trace_id"]) == ("queued", "echo", TRACE)
    shown = (await client.get(f"/api/v1/runs/{task}")).json()
    assert (shown["run_id"], shown["status"]) == (task, "queued")
    early = await client.get(f"/api/v1/agents/result/{task}")
    assert early.status_code == 409
    assert early.json()["status"] == "queued"
    assert "queued" in early.json()["error"]["message"]

    claimed = await house.work({"said": "hello"})
    assert claimed.run.run_id == task
    assert claimed.input == "hello"
    result = await client.get(f"/api/v1/agents/result/{task}")
    assert result.status_code == 200
    body = result.json()
    assert body["output"] == {"said": "hello"}
    assert body["status"] == "succeeded"
    assert body["error"] is None
    assert body["cost_usd"] == 0.01
    assert body["usage"] == {"input_tokens": 3, "output_tokens": 5}
    ended = (await client.get(f"/api/v1/agents/status/{task}")).json()
    assert ended["agent_version"] == 1
    assert ended["attempt"] == 1
    assert ended["finished_at"].endswith("Z")


async def test_a_failed_run_says_why(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    task = await house.invoke(client)
    await house.fail()
    result = (await client.get(f"/api/v1/agents/result/{task}")).json()
    assert result["status"] == "failed"
    assert result["error"] == {"code": "boom", "message": "it broke"}


async def test_the_same_idempotency_key_is_the_same_task_even_at_once(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    body = {"agent": "echo", "input": {"b": 1, "a": 2}, "idempotency_key": "k1"}
    swapped = {"idempotency_key": "k1", "input": {"a": 2, "b": 1}, "agent": "echo"}
    answers = await asyncio.gather(*(client.post(INVOKE, json=each) for each in (body, swapped, body)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    assert len({answer.json()["trace_id"] for answer in answers}) == 1
    other = await client.post(INVOKE, json={**body, "input": "something else"})
    assert other.status_code == 409
    assert other.json()["error"]["code"] == "idempotency_conflict"
    assert other.json()["error"]["field"] == "idempotency_key"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b'"a\\u0000b"', "NUL"),
        (b'{"a\\u0000b": 1}', "NUL"),
        (b'{"n": NaN}', "JSON"),
        (b'{"n": -Infinity}', "JSON"),
        (b'{"deep": ' + b"[" * 70 + b"]" * 70 + b"}", "nested deeper than 64 levels"),
        (b'{"deep": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "JSON"),
    ],
)
async def test_what_others_could_not_read_back_is_no_json(client: httpx2.AsyncClient, value: bytes, told: str) -> None:
    body = b'{"agent": "echo", "input": ' + value + b"}"
    answer = await client.post(INVOKE, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
    assert told in answer.json()["error"]["message"]


@pytest.mark.parametrize(("agent", "told"), [("ecko", "did you mean 'echo'"), ("zzz", "the agents are: echo, sleeper")])
async def test_an_unknown_agent_is_refused_with_the_nearest_else_all_there_are(
    client: httpx2.AsyncClient, agent: str, told: str
) -> None:
    answer = await client.post(INVOKE, json={"agent": agent, "input": "x"})
    assert answer.status_code == 404
    assert told in answer.json()["error"]["message"]


async def test_an_unavailable_agent_says_why(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    house.registry.set("echo", AgentStatus.UNAVAILABLE, "OPENAI_API_KEY is not set")
    answer = await client.post(INVOKE, json={"agent": "echo", "input": "x"})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "agent_unavailable"
    assert "OPENAI_API_KEY is not set" in answer.json()["error"]["message"]
    assert answer.headers["retry-after"]


async def test_priority_conversation_and_context_reach_the_event(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    more: dict[str, Any] = {"priority": "low", "conversation_id": "c1", "context": {"channel": "#eng"}}
    task = await house.invoke(client, {"question": "why"}, **more)
    claimed = await house.claim()
    assert claimed.run.run_id == task
    stored = await house.services.queries.event(claimed.run.event_id)
    assert stored is not None
    event = stored.event
    assert (event.priority.value, event.conversation_id, event.topic) == ("low", "c1", "api.invoke.echo")
    assert event.payload == {"input": {"question": "why"}, "context": {"channel": "#eng"}}
    assert (event.actor.kind, event.actor.id) == ("api", "local")


@pytest.mark.parametrize(
    ("kind", "options", "wrong", "right"),
    [
        (ClarificationKind.CHOICE, ("Berlin", "Paris"), "Rome", "Paris"),
        (ClarificationKind.CONFIRMATION, (), "yes", True),
        (ClarificationKind.INPUT, (), 7, "seven"),
        (ClarificationKind.ACTION, (), "done", {"done": True}),
    ],
)
async def test_the_first_right_answer_wins_and_a_later_one_hears_who_and_what(
    house: ApiHouse,
    client: httpx2.AsyncClient,
    kind: ClarificationKind,
    options: tuple[str, ...],
    wrong: object,
    right: object,
) -> None:
    task = await house.invoke(client)
    _, question = await house.ask(kind, "Which?", *options)
    status = (await client.get(f"/api/v1/agents/status/{task}")).json()
    assert status["status"] == "waiting"
    assert status["waiting_for"]["kind"] == "clarification"
    assert status["waiting_for"]["id"] == question

    refused = await client.post(f"/api/v1/agents/approve/{task}", json={"answer": wrong})
    assert refused.status_code == 422
    assert refused.json()["error"]["field"] == "answer"

    answered = await client.post(
        f"/api/v1/agents/approve/{task}", json={"answer": right, "answered_by": "mia", "comment": "sure"}
    )
    assert answered.status_code == 200
    assert answered.json()["answer"] == right
    assert answered.json()["answered_by"] == "mia"

    late = await client.post(f"/api/v1/agents/approve/{question}", json={"answer": right})
    assert late.status_code == 409
    assert late.json()["error"]["code"] == "already_answered"
    assert "mia" in late.json()["error"]["message"]
    assert f"answered {told_answer(right)!r}" in late.json()["error"]["message"]
    assert late.json()["clarification"]["answered_by"] == "mia"
    assert (await client.get(f"/api/v1/agents/status/{task}")).json()["status"] == "queued"


async def test_a_question_can_be_answered_by_its_own_id_on_either_route(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    for path in ("agents/approve/{}", "clarifications/{}/answer"):
        await house.invoke(client)
        _, question = await house.ask(ClarificationKind.INPUT, "Name?")
        answered = await client.post(f"/api/v1/{path.format(question)}", json={"answer": "Ann"})
        assert answered.status_code == 200, answered.text
        await house.work()


async def test_a_task_that_asked_nothing_cannot_be_answered(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    task = await house.invoke(client)
    answer = await client.post(f"/api/v1/agents/approve/{task}", json={"answer": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_question")
    unknown = await client.post(f"/api/v1/agents/approve/{'f' * 32}", json={"answer": "x"})
    assert unknown.status_code == 404


async def test_a_queued_run_is_cancelled_at_once_and_a_running_one_can_only_end_so(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    queued = await house.invoke(client)
    await house.route()
    first = await client.post(f"/api/v1/agents/cancel/{queued}")
    assert (first.status_code, first.json()["status"]) == (202, "cancelled")
    assert (await client.post(f"/api/v1/agents/cancel/{queued}")).status_code == 202

    running = await house.invoke(client)
    claimed = await house.claim()
    second = await client.post(f"/api/v1/agents/cancel/{running}", json={})
    assert (second.status_code, second.json()["status"]) == (202, "running")
    assert await house.settle(claimed, RunStatus.SUCCEEDED, output="too late") is RunStatus.CANCELLED
    result = (await client.get(f"/api/v1/agents/result/{running}")).json()
    assert (result["status"], result["output"]) == ("cancelled", None)

    done = await house.invoke(client)
    await house.work()
    third = await client.post(f"/api/v1/agents/cancel/{done}")
    assert third.status_code == 409
    assert "succeeded" in third.json()["error"]["message"]


async def test_cancelling_an_accepted_task_waits_until_its_run_exists(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    task = await house.invoke(client)
    cancelling = asyncio.create_task(client.post(f"/api/v1/agents/cancel/{task}"))
    await asyncio.sleep(0)
    await house.route()
    assert (await cancelling).json()["status"] == "cancelled"


async def test_a_retry_is_a_new_run_of_the_same_work_and_asked_twice_at_once_it_is_one(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    task = await house.invoke(client, "again please", context={"a": 1})
    early = await client.post(f"/api/v1/runs/{task}/retry")
    assert early.status_code == 409
    await house.fail()
    house.registry.set("echo", AgentStatus.PAUSED, "paused")
    assert (await client.post(f"/api/v1/runs/{task}/retry")).status_code == 503
    house.registry.set("echo", AgentStatus.AVAILABLE, None)
    first, second = await asyncio.gather(*(client.post(f"/api/v1/runs/{task}/retry") for _ in range(2)))
    assert first.status_code == second.status_code == 202
    assert first.json()["task_id"] == second.json()["task_id"] != task
    claimed = await house.work("better")
    assert claimed.run.run_id == first.json()["task_id"]
    assert claimed.input == "again please"
    stored = await house.services.queries.event(claimed.run.event_id)
    assert stored is not None
    assert stored.event.causation_id is not None
    assert stored.event.payload["context"] == {"a": 1}
    third = await client.post(f"/api/v1/runs/{task}/retry")
    assert third.json()["task_id"] not in (task, first.json()["task_id"])
