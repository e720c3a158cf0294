"""A whole Callboard for tests, met as its users meet it: over HTTP, Slack and the folder of agent files.

`Callboard` is the handle; how the system behind it is started is an adapter (`Start`), so that the same tests run on
any deployment. Here is the embedded one; the distributed one is in `tests/support/distributed/start.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from callboard.bootstrap.system import embedded
from callboard.bootstrap.tuning import Tuning
from callboard.integrations.slack_local import LocalSlack
from callboard.integrations.slack_local_workspace import LocalMessage
from callboard.integrations.slack_simulator import SlackSimulator
from callboard.integrations.slack_wire import Channel, Person
from callboard.logs import LogSettings, configure
from callboard.settings import load_settings
from tests.support.http_client import no_certificates
from tests.support.servers.ports import free_port
from tests.support.slack_app import SECRET, TOKEN
from tests.support.waiting import wait_until

GENERAL = Channel()
ANNA = Person()
ENDED = frozenset({"succeeded", "failed", "cancelled", "timed_out"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a system is started over, and what stays when it stops."""

    agents: Path
    data: Path
    logs: Path
    slack: LocalSlack
    drain_seconds: float = 10.0
    port: int = field(default_factory=free_port)
    slack_port: int = field(default_factory=free_port)

    @property
    def tools(self) -> Path:
        """The folder of the project's own tools, which need not exist."""
        return self.agents.parent / "tools"

    @property
    def models(self) -> Path:
        """The file of prices and budgets, which need not exist."""
        return self.agents.parent / "models.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where people find a running system; embedded both are one."""

    api: str
    slack: str


Start = Callable[[Place], AbstractAsyncContextManager[Addresses]]
"""Runs a system over a place and yields its addresses; leaving the context stops it."""


class Callboard:
    """A running system. Everything goes through its public interface."""

    def __init__(self, place: Place, start: Start) -> None:
        self.agents = place.agents
        self.logs = place.logs
        self.models = place.models
        self.tools = place.tools
        self.slack = place.slack
        self._place = place
        self._start = start
        self._running = contextlib.AsyncExitStack()
        self.url = ""
        self.slack_url = ""

    async def start(self) -> None:
        """Starts over the place as it is; the addresses stay the same when it is started again."""
        found = await self._running.enter_async_context(self._start(self._place))
        self.url, self.slack_url = found.api, found.slack

        async def answers() -> bool:
            with contextlib.suppress(httpx2.TransportError):
                return (await self.call("GET", "/health")).is_success
            return False

        await wait_until(answers, "the system answers")

    async def stop(self) -> None:
        await self._running.aclose()

    async def restart(self) -> None:
        """Stops it and starts it again over the same place."""
        await self.stop()
        await self.start()

    def person(self, who: Person = ANNA, channel: Channel = GENERAL) -> SlackSimulator:
        """Somebody in Slack; an async context manager."""
        return SlackSimulator(
            self.slack, gateway_url=self.slack_url, signing_secret=SECRET, person=who, channel=channel
        )

    async def call(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """Any request."""
        async with httpx2.AsyncClient(
            base_url=self.url, trust_env=False, verify=no_certificates(), timeout=10.0
        ) as http:
            return await http.request(method, path, **more)

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON at a path of `/api/v1`, which must be a success."""
        return _json(await self.call("GET", f"/api/v1/{path}", params=query))

    async def post(self, path: str, **body: Any) -> Any:
        """What posting a JSON body to a path of `/api/v1` answers, which must be a success."""
        return _json(await self.call("POST", f"/api/v1/{path}", json=body))

    async def write(self, name: str, text: str) -> dict[str, Any]:
        """Save an agent file; the agent as it is once that version is in force."""
        (self.agents / f"{name}.yaml").write_text(text)

        async def in_force() -> Any:
            listed = [agent for agent in (await self.get("agents"))["agents"] if agent["name"] == name]
            if not listed or listed[0]["status"] != "available" or "rejected" in listed[0]:
                return None
            shown = await self.get(f"agents/{name}")
            return shown if shown["source"] == text else None

        agent: dict[str, Any] = await wait_until(in_force, f"{name}.yaml is in force")
        return agent

    async def invoke(self, agent: str, given: Any, **more: Any) -> str:
        """The id of a new task."""
        return str((await self.post("agents/invoke", agent=agent, input=given, **more))["task_id"])

    async def status_of(self, task_id: str) -> str:
        return str((await self.get(f"agents/status/{task_id}"))["status"])

    async def ended(self, task_id: str) -> dict[str, Any]:
        """The result of a task, once it has one."""

        async def has_ended() -> bool:
            return await self.status_of(task_id) in ENDED

        await wait_until(has_ended, f"task {task_id} ends")
        result: dict[str, Any] = await self.get(f"agents/result/{task_id}")
        return result

    async def runs_of(self, agent: str) -> list[dict[str, Any]]:
        """Every run of an agent, oldest first."""
        runs: list[dict[str, Any]] = (await self.get("runs", agent=agent))["runs"]
        return runs[::-1]

    async def message(self, wanted: Callable[[LocalMessage], bool], what: str, *, within: float = 30.0) -> LocalMessage:
        """The first message in Slack that is wanted."""

        def found() -> LocalMessage | None:
            return next((message for message in self.slack.messages if wanted(message)), None)

        seen = await wait_until(found, what, within=within)
        assert seen is not None
        return seen


@contextlib.asynccontextmanager
async def start_embedded(place: Place, tuning: Tuning | None = None) -> AsyncIterator[Addresses]:
    """Everything in this process, as `callboard up` runs it."""
    settings = load_settings(
        place.data,
        agents_folder=place.agents,
        models_file=place.models,
        tools_folder=place.tools,
        data_folder=place.data,
        log_folder=place.logs,
        port=place.port,
        slack_signing_secret=SECRET,
        slack_bot_token=TOKEN,
        slack_api_url=place.slack.api_url,
        drain_seconds=place.drain_seconds,
    )
    with (place.logs.parent / "stdout.jsonl").open("a") as stdout:
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(configure(LogSettings(folder=place.logs), stream=stdout))
            system = await stack.enter_async_context(embedded(settings, tuning=tuning))
            system.supervisor.start()
            try:
                yield Addresses(api=system.url, slack=system.url)
            finally:
                await system.supervisor.stop("the test is over")


@contextlib.asynccontextmanager
async def callboard_at(folder: Path, start: Start = start_embedded, **more: Any) -> AsyncIterator[Callboard]:
    """A system over empty folders, with a Slack of its own."""
    agents = folder / "agents"
    agents.mkdir()
    async with LocalSlack() as slack:
        place = Place(agents=agents, data=folder / "data", logs=folder / "logs", slack=slack, **more)
        running = Callboard(place, start)
        await running.start()
        try:
            yield running
        finally:
            await running.stop()


@pytest.fixture
async def callboard(tmp_path: Path) -> AsyncIterator[Callboard]:
    """A running system without agents."""
    async with callboard_at(tmp_path) as running:
        yield running


def _json(answer: httpx2.Response) -> Any:
    assert answer.is_success, f"{answer.request.method} {answer.url} answered {answer.status_code}: {answer.text}"
    return orjson.loads(answer.content)
