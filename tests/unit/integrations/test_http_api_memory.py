"""What agents remember over HTTP: to look at, to correct, to have forgotten; on record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from callboard.state.agent_state import StateSave
from callboard.state.models import operations
from callboard.state.sql.agent_states import save_states
from tests.support.api_house import TESTER, ApiHouse, api_house

MEMORY = "/api/v1/agents/echo/memory"
RUN = "a" * 32


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[ApiHouse]:
    async with api_house(tmp_path) as opened:
        yield opened


async def conversation(house: ApiHouse, name: str, *texts: str, **memory: Any) -> None:
    save = StateSave(
        agent="echo",
        conversation_id=name,
        expected=0,
        memory=memory,
        appended=tuple({"role": "user", "content": text} for text in texts),
        turns=len(texts),
        run_id=RUN,
    )
    await house.database.write(lambda connection: save_states(connection, [save], house.clock.now()))


async def posted(client: httpx2.AsyncClient, verb: str, **body: Any) -> Any:
    answer = await client.post(f"{MEMORY}/{verb}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_conversation_is_shown_with_summary_entries_and_messages(house: ApiHouse) -> None:
    await conversation(house, "user:T/1:U1", *"abc", summary="they talked", summarised=2, untrusted=True)
    await house.services.memory.remember(
        "echo", "user:T/1:U1", "city", "Berlin", run_id=RUN, actor=TESTER, untrusted=True
    )
    async with house.client() as client:
        (listed,) = (await client.get(MEMORY)).json()["conversations"]
        assert (listed["conversation_id"], listed["turns"], listed["messages"]) == ("user:T/1:U1", 3, 3)
        shown = (await client.get(f"{MEMORY}/conversation", params={"conversation_id": "user:T/1:U1"})).json()
        assert shown["conversation"] == listed
        assert (shown["summary"], shown["summary_untrusted"]) == ("they talked", True)
        assert [(each["n"], each["content"], each["summarised"]) for each in shown["messages"]] == [
            (0, "a", True),
            (1, "b", True),
            (2, "c", False),
        ]
        (entry,) = shown["entries"]
        assert {name: entry[name] for name in ("key", "value", "run_id", "by", "untrusted")} == {
            "key": "city",
            "value": "Berlin",
            "run_id": RUN,
            "by": "tess",
            "untrusted": True,
        }


async def test_messages_and_conversations_come_in_pages(house: ApiHouse) -> None:
    for name in "xyz":
        await conversation(house, name, *"abc")
    async with house.client() as client:
        first = (await client.get(MEMORY, params={"limit": 2})).json()
        rest = (await client.get(MEMORY, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        names = [each["conversation_id"] for page in (first, rest) for each in page["conversations"]]
        assert (names, rest["next_cursor"]) == (["z", "y", "x"], None)
        newest = (await client.get(f"{MEMORY}/conversation", params={"limit": 2})).json()
        assert newest["conversation"]["conversation_id"] == "z"
        assert [each["content"] for each in newest["messages"]] == ["b", "c"]
        older = {"limit": 2, "cursor": newest["next_cursor"]}
        before = (await client.get(f"{MEMORY}/conversation", params=older)).json()
        assert ([each["content"] for each in before["messages"]], before["next_cursor"]) == (["a"], None)


async def test_what_a_person_sets_and_has_forgotten_is_on_record(house: ApiHouse) -> None:
    async with house.client() as client:
        entry = await posted(client, "set", key="city", value={"name": "Berlin"}, conversation_id="c1")
        assert (entry["conversation_id"], entry["run_id"], entry["untrusted"]) == ("c1", None, False)
        shared = await posted(client, "set", key="city", value="Paris")
        assert shared["conversation_id"] == "agent"
        assert (await posted(client, "forget", key="city", conversation_id="c1"))["entries"] == 1
        assert [entry.value for entry in await house.services.memory.entries("echo")] == ["Paris"]
        await conversation(house, "c2", "hello")
        assert await posted(client, "clear") == {"entries": 1, "messages": 1, "conversations": 1}
        actions = await house.database.read(
            lambda connection: [
                row.action for row in connection.execute(operations.select().order_by(operations.c.id)) if row.id
            ]
        )
        assert [action for action in actions if action.startswith("memory.")] == [
            "memory.set",
            "memory.set",
            "memory.forget",
            "memory.clear",
        ]


@pytest.mark.parametrize(
    ("verb", "body", "status", "code"),
    [
        ("set", {"key": "k", "value": "x" * 9000}, 413, "too_large"),
        ("set", {"key": "\u202ek", "value": "x"}, 422, "invalid_input"),
        ("set", {"key": "k"}, 422, "invalid_input"),
        ("forget", {"run_id": "1"}, 422, "invalid_input"),
        ("clear", {"all": True}, 422, "invalid_input"),
    ],
)
async def test_what_cannot_be_done_is_told(house: ApiHouse, verb: str, body: Any, status: int, code: str) -> None:
    async with house.client() as client:
        answer = await client.post(f"{MEMORY}/{verb}", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_unknown_agents_and_conversations_are_not_found(house: ApiHouse) -> None:
    async with house.client() as client:
        unknown = await client.get("/api/v1/agents/nobody/memory")
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_agent")
        nothing = await client.get(f"{MEMORY}/conversation")
        assert (nothing.status_code, nothing.json()["error"]["code"]) == (404, "no_memory")
        assert (await client.get(MEMORY)).json() == {"agent": "echo", "conversations": [], "next_cursor": None}
