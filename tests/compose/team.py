"""The people who work with a stack, through what it shows to them: Slack, the HTTP API, the folder of agent files."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import orjson

from callboard.integrations.slack_local import LocalSlack
from callboard.integrations.slack_local_workspace import LocalMessage
from callboard.integrations.slack_simulator import SlackSimulator
from tests.support.compose.stack import Stack
from tests.support.waiting import wait_until

ENDED = frozenset({"succeeded", "failed", "cancelled", "timed_out"})

MINUTELY = """
name: minutely
agent_type: reporter
execution_mode: scheduled
llm_config: {provider: scripted, model_id: echo}
schedules:
  - {id: minute, cron: "* * * * *", input: "another minute"}
"""

PRICES = """
prices: [{provider: scripted, model: script, input_usd: 1000, output_usd: 1000}]
"""


class Team:
    """The handle of a test on a running stack."""

    def __init__(self, stack: Stack, slack: LocalSlack) -> None:
        self.stack = stack
        self.slack = slack
        self.agents: Path = stack.folder / "config/agents"
        self._headers = {"authorization": f"Bearer {stack.secrets['CALLBOARD_API_TOKEN']}"}

    def anna(self) -> SlackSimulator:
        """Somebody in Slack; an async context manager."""
        secret = self.stack.secrets["SLACK_SIGNING_SECRET"]
        return SlackSimulator(self.slack, gateway_url=self.stack.url("gateway"), signing_secret=secret)

    @contextlib.asynccontextmanager
    async def http(self, **more: Any) -> AsyncIterator[httpx2.AsyncClient]:
        """A client of the HTTP API with the team's token."""
        options: dict[str, Any] = {"headers": self._headers, "timeout": 20.0, "trust_env": False, **more}
        async with httpx2.AsyncClient(base_url=self.stack.url("api"), **options) as client:
            yield client

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON at a path of `/api/v1`, which must be a success; 503 says "later", and is asked again later."""

        async def answered() -> httpx2.Response | None:
            async with self.http() as client:
                answer = await client.get(f"/api/v1/{path}", params=query)
            return None if answer.status_code == 503 else answer

        answer = await wait_until(answered, f"an answer to GET {path} that is not 503", within=30)
        assert answer is not None
        return _json(answer)

    async def post(self, path: str, **body: Any) -> Any:
        """What posting a JSON body to a path of `/api/v1` answers, which must be a success."""
        async with self.http() as client:
            return _json(await client.post(f"/api/v1/{path}", json=body))

    async def drop(self, name: str, text: str) -> dict[str, Any]:
        """Save an agent file; the agent as it is once that version is in force."""
        (self.agents / f"{name}.yaml").write_text(text)

        async def in_force() -> Any:
            async with self.http() as client:
                answer = await client.get(f"/api/v1/agents/{name}")
            shown = answer.json() if answer.is_success else {}
            return shown if shown.get("source") == text and shown.get("status") == "available" else None

        agent: dict[str, Any] = await wait_until(in_force, f"{name}.yaml is in force")
        return agent

    async def invoke(self, agent: str, given: str, count: int = 1) -> list[str]:
        """The ids of new tasks, asked for side by side."""
        async with self.http() as client:
            asked = [client.post("/api/v1/agents/invoke", json={"agent": agent, "input": given}) for _ in range(count)]
            return [str(_json(answer)["task_id"]) for answer in await asyncio.gather(*asked)]

    async def ended(self, task_id: str, *, within: float = 30.0) -> dict[str, Any]:
        """The result of a task, once it has one."""

        async def has_ended() -> bool:
            return (await self.get(f"agents/status/{task_id}"))["status"] in ENDED

        await wait_until(has_ended, f"task {task_id} ends", within=within)
        result: dict[str, Any] = await self.get(f"agents/result/{task_id}")
        return result

    async def runs_of(self, agent: str, **query: str) -> list[dict[str, Any]]:
        """Every run of an agent, newest first."""
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.get("runs", agent=agent, limit=200, **query, **cursor)
            found += page["runs"]
            if not page.get("next_cursor"):
                return found
            cursor = {"cursor": page["next_cursor"]}

    async def message(self, wanted: Callable[[LocalMessage], bool], what: str) -> LocalMessage:
        """The first message in Slack that is wanted."""

        def found() -> LocalMessage | None:
            return next((message for message in self.slack.messages if wanted(message)), None)

        seen = await wait_until(found, what)
        assert seen is not None
        return seen


def _json(answer: httpx2.Response) -> Any:
    assert answer.is_success, f"{answer.request.method} {answer.url} answered {answer.status_code}: {answer.text}"
    return orjson.loads(answer.content)
