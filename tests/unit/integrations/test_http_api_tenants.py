"""H7, first part: whatever another tenant has is not found, by every route that takes an id."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import Connection, select, update
from starlette.types import Receive, Scope, Send

from callboard.integrations.http_api.access import Principal
from callboard.state.clarifications import ClarificationKind
from callboard.state.models import artifacts, clarifications, dead_letters, deliveries, events, runs
from tests.support.api_house import ApiHouse, api_house

THEIRS = "other"
IDS = ("run_id", "task_id", "clarification_id", "letter_id", "artifact_id", "trace_id")
BODIES = {
    "approve": {"answer": "Berlin"},
    "answer": {"answer": "Berlin"},
    "rerun": {"from_step": "a"},
    "replay": {},
}


@dataclass(frozen=True, slots=True)
class Theirs:
    """Ids of records of the other tenant, by the name that a route has for such an id."""

    ids: dict[str, list[str]]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[ApiHouse]:
    async with api_house(tmp_path) as house:
        yield house


@pytest.fixture
async def theirs(house: ApiHouse) -> Theirs:
    """One record of each kind, begun as our own and written over to the other tenant."""
    async with house.client() as client:
        await house.invoke(client)
        ended = (await house.work()).run
        await house.invoke(client)
        asking, question = await house.ask(ClarificationKind.INPUT, "Which city?")
        letter = await house.dead_letter(b"{}")
        made = await house.services.artifacts.keep(ended.run_id, "a.txt", "text/plain", b"hello")
        pending = await house.invoke(client)
    await house.database.write(_give_away)
    of_runs = [ended.run_id, asking.run.run_id, pending]
    return Theirs(
        {
            "run_id": of_runs,
            "task_id": [*of_runs, question],
            "clarification_id": [question],
            "letter_id": [letter],
            "artifact_id": [made.id],
            "trace_id": [ended.trace_id],
        }
    )


def _give_away(connection: Connection) -> None:
    for table in (artifacts, clarifications, dead_letters, deliveries, events, runs):
        connection.execute(update(table).values(tenant=THEIRS))


async def everything(house: ApiHouse) -> list[list[Any]]:
    tables = (artifacts, clarifications, dead_letters, deliveries, events, runs)

    def read(connection: Connection) -> list[list[Any]]:
        return [list(connection.execute(select(table))) for table in tables]

    return await house.database.read(read)


def calls(house: ApiHouse, theirs: Theirs) -> list[tuple[str, str]]:
    """Every (method, path) below which a record is found by its id."""
    found = []
    for route in house.api.fastapi.routes:
        if not isinstance(route, APIRoute):
            continue
        for name in IDS:
            if f"{{{name}}}" in route.path:
                found += [
                    (method, route.path.replace(f"{{{name}}}", each))
                    for method in sorted(route.methods or ())
                    for each in theirs.ids[name]
                ]
    return found


async def ask(client: httpx2.AsyncClient, method: str, path: str) -> httpx2.Response:
    body = BODIES.get(path.split("/")[-1], BODIES.get(path.split("/")[-2]))
    return await client.request(method, path, json=body if method == "POST" else None)


async def test_H7_a_record_of_another_tenant_is_not_found_by_any_route(house: ApiHouse, theirs: Theirs) -> None:
    before = await everything(house)
    walked = calls(house, theirs)
    assert len({path.split("/")[3] for _, path in walked}) >= 6, "the routes that take ids have other names"
    async with house.client() as client:
        answers = {(method, path): await ask(client, method, path) for method, path in walked}
    wrong = {call: (answer.status_code, answer.text) for call, answer in answers.items() if answer.status_code != 404}
    assert wrong == {}
    assert all(answer.json()["error"]["code"] != "no_route" for answer in answers.values())
    assert await everything(house) == before


async def test_H7_whose_record_it_is_finds_it_by_the_same_routes(house: ApiHouse, theirs: Theirs) -> None:
    """The tenant that is asked for is the caller's, not a constant."""
    async with as_tenant(house, THEIRS) as client:
        for method, path in calls(house, theirs):
            # A question's id is no task's, and the stream of a run that has not ended goes on for ever.
            no_task = path.endswith(theirs.ids["task_id"][-1]) and "clarifications" not in path
            if method == "GET" and not path.endswith("/events") and not no_task:
                answer = await ask(client, method, path)
                assert answer.status_code in (200, 409), (path, answer.text)
        cancelled = await client.post(f"/api/v1/agents/cancel/{theirs.ids['run_id'][1]}")
        assert cancelled.status_code == 202
        dropped = await client.post(f"/api/v1/deadletters/{theirs.ids['letter_id'][0]}/drop")
        assert dropped.status_code == 200
        answered = await client.post(
            f"/api/v1/clarifications/{theirs.ids['clarification_id'][0]}/answer", json=BODIES["answer"]
        )
        assert answered.status_code == 409


@contextlib.asynccontextmanager
async def as_tenant(house: ApiHouse, tenant: str) -> AsyncIterator[httpx2.AsyncClient]:
    """The routes behind a border that knows other callers than the holder of the one token."""

    async def let_in(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["principal"] = Principal(id="theirs", tenant=tenant)
        await house.api.fastapi(scope, receive, send)

    transport = httpx2.ASGITransport(app=let_in)
    async with httpx2.AsyncClient(base_url="http://127.0.0.1", transport=transport, trust_env=False) as client:
        yield client
