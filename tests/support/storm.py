"""A storm of mixed requests against a system that is killed meanwhile; every request is written down."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx2

from callboard.clock import SystemClock
from callboard.integrations.slack_local import LocalSlack
from callboard.integrations.slack_local_workspace import BOT_USER, LocalMessage
from callboard.integrations.slack_wire import (
    Channel,
    Person,
    SlackRequest,
    button_click,
    message_event,
    slash_command,
)
from tests.support.slack_app import SECRET

CONVERSATIONS = 6
Send = Callable[[str], Coroutine[Any, Any, None]]
"""Sends one request with the marker that it is given."""
OPS = "#ops"
DEALS = "crm.deal.won"
"""A topic of another system's."""


def agents(tool_url: str, *, tick_seconds: int = 2) -> dict[str, str]:
    """The agent files of the storm."""
    return {
        "echo": _agent("echo", "autonomous", "", "slack: {commands: [/echo], mentions: true}", model="echo"),
        "whisper": _agent("whisper", "autonomous", "", "slack: {commands: [/whisper], reply: ephemeral}", model="echo"),
        "slow": _agent("slow", "autonomous", '{wait_seconds: 0.15, say: "{input}"}', "slack: {commands: [/slow]}"),
        "asker": _agent(
            "asker",
            "autonomous",
            '{ask: {question: "Which city for {input}?", options: [Berlin, Paris]}, say: "{input}: you said {answer}"}',
            "slack: {commands: [/ask]}",
        ),
        "poster": _agent(
            "poster",
            "autonomous",
            f'{{call: {{tool: http_post, args: {{url: "{tool_url}/calls", body: "{{input}}"}}}}, '
            'say: "{input}: posted, {result}"}',
            "slack: {commands: [/post]}\ntools: [http_post]",
        ),
        "memo": _agent("memo", "continuous", '{say: "turn {turn}: {input}"}', ""),
        "team": _agent(
            "team",
            "collaborative",
            "",
            "slack: {commands: [/team]}\n"
            "collaboration:\n"
            "  members: [poster, asker, echo]\n"
            "  plan:\n"
            '    - {id: post, agent: poster, input: "${input}"}\n'
            '    - {id: ask, agent: asker, input: "${input}"}\n'
            '    - {id: say, agent: echo, input: "${step.post.output}; ${step.ask.output}"}\n',
            model="echo",
        ),
        "pulse": _agent(
            "pulse",
            "scheduled",
            '{say: "tick"}',
            f'schedules: [{{id: beat, interval_seconds: {tick_seconds}, input: "tick", overlap: allow, '
            f'deliver_to: "{OPS}"}}]',
        ),
        "deals": _agent("deals", "autonomous", "", f"subscriptions: [{DEALS}]", model="echo"),
    }


def _agent(name: str, mode: str, rule: str, rest: str, *, model: str = "script") -> str:
    script = f"\n  script:\n    - {rule}" if rule else ""
    head = f"name: {name}\nagent_type: storm\nexecution_mode: {mode}\n"
    return f"{head}llm_config:\n  provider: scripted\n  model_id: {model}{script}\n{rest}\n"


class Target(Protocol):
    """What can be sent to."""

    def client(self) -> httpx2.AsyncClient:
        """Of the HTTP API."""

    def slack_client(self) -> httpx2.AsyncClient:
        """Of the port that Slack is given."""


@dataclass(eq=False, slots=True)
class Sent:
    """One line of the intake ledger. `accepted` says that the client saw a 200 or 202."""

    marker: str
    kind: str
    agent: str
    conversation: str | None = None
    accepted: bool = False
    tries: int = 0
    task_id: str | None = None
    channel: str | None = None
    response_token: str | None = None
    statuses: list[int] = field(default_factory=list)

    @property
    def in_slack(self) -> bool:
        return self.kind in ("command", "mention")


class Storm:
    """Sends, whoever runs at the moment; keeps the ledger.

    Commands are sent once, as Slack does it, mentions until they are accepted, as Slack does it too; API calls with
    an idempotency key until they are accepted, without one once.
    """

    def __init__(self, slack: LocalSlack, chance: random.Random, *, pause_seconds: float = 0.05) -> None:
        """`pause_seconds`: so long is waited before a request is sent again."""
        self.ledger: list[Sent] = []
        self.clicks: dict[str, list[str]] = {}
        self._slack = slack
        self._chance = chance
        self._clock = SystemClock()
        self._pause_seconds = pause_seconds
        self._api: httpx2.AsyncClient | None = None
        self._gateway: httpx2.AsyncClient | None = None
        self._up = asyncio.Event()
        self._turns: dict[str, asyncio.Lock] = {}
        self._kinds: tuple[Send, ...] = (
            *(self._make_command(name) for name in ("/echo", "/echo", "/ask", "/post", "/slow", "/whisper", "/team")),
            self._mention,
            self._mention,
            *(self._make_invoke(name) for name in ("echo", "slow", "poster", "team")),
            self._invoke_once,
        )

    async def against(self, target: Target) -> None:
        """From now on this system is meant."""
        await self.close()
        self._api, self._gateway = target.client(), target.slack_client()
        self._up.set()

    def down(self) -> None:
        self._up.clear()

    async def close(self) -> None:
        for client in (self._api, self._gateway):
            if client is not None:
                await client.aclose()

    def add_kinds(self, *kinds: Send) -> None:
        """More ways in, each as often as the others."""
        self._kinds += kinds

    def round(
        self, number: int, size: int, spread_seconds: float, tasks: asyncio.TaskGroup, *, steady: bool = False
    ) -> None:
        """Starts `size` requests, at random moments within the spread; a share of them notes in conversations.

        `steady` spreads the notes too, which otherwise come one right after the other.
        """
        notes = size // 5
        for index in range(size - notes):
            kind = self._kinds[index % len(self._kinds)]
            marker = f"m{number}-{index}x"
            tasks.create_task(self._later(self._chance.uniform(0, spread_seconds), kind, marker))
        for conversation in range(CONVERSATIONS):
            count = notes // CONVERSATIONS
            pause = spread_seconds / count if steady else 0.0
            tasks.create_task(self._notes(f"{number}-{conversation}", f"talk-{conversation}", count, pause))

    def burst(self, name: str, tasks: asyncio.TaskGroup) -> None:
        """One request of each way in, all at once."""
        kinds = (self._make_command("/post"), self._make_command("/whisper"), self._mention, self._make_invoke("team"))
        for index, kind in enumerate(kinds):
            tasks.create_task(kind(f"m{name}-{index}x"))
        tasks.create_task(self._notes(name, "talk-0", 3))

    async def click_questions(self) -> None:
        """A person who presses the buttons of whatever asks, again where nothing came of it; until cancelled."""
        while True:
            await self._up.wait()
            for message in tuple(self._slack.messages):
                if message.buttons:
                    await self._click(message, len(self.clicks.get(message.ts, ())))
            await asyncio.sleep(0.5)

    async def _click(self, message: LocalMessage, turn: int) -> None:
        labels = [button["text"]["text"] for button in message.buttons]
        # What nobody knows is not repeated: the tool server shows whether it is.
        label = "No" if "No" in labels else labels[turn % 2]
        button = next(item for item in message.buttons if item["text"]["text"] == label)
        url = self._slack.response_url(message.channel, "U0ANNA", message_ts=message.ts)
        trigger = f"click-{message.ts}-{turn}"
        request = button_click(message, button, person=Person(), response_url=url, trigger_id=trigger)
        self.clicks.setdefault(message.ts, []).append(label)
        # A finger that presses twice: one and the same click, delivered twice.
        await asyncio.gather(*(self._post_slack(request) for _ in range(2 if turn % 3 == 0 else 1)))

    async def _later(self, seconds: float, kind: Send, marker: str) -> None:
        await asyncio.sleep(seconds)
        await kind(marker)

    def _make_command(self, name: str) -> Send:
        async def send(marker: str) -> None:
            channel = Channel(id=f"C{marker.upper().replace('-', 'N')}")
            url = self._slack.response_url(channel.id, "U0ANNA")
            sent = self.note(marker, "command", {"/ask": "asker", "/post": "poster"}.get(name, name[1:]))
            sent.channel, sent.response_token = channel.id, url.rpartition("/")[2]
            request = slash_command(
                f"{name} {marker}", person=Person(), channel=channel, response_url=url, trigger_id=f"t-{marker}"
            )
            await self._attempt(sent, lambda: self._post_slack(request))

        return send

    async def _mention(self, marker: str) -> None:
        channel = Channel(id=f"C{marker.upper().replace('-', 'N')}")
        sent = self.note(marker, "mention", "echo")
        sent.channel = channel.id
        ts = self._slack.workspace.new_ts()
        request = message_event(
            f"<@{BOT_USER}> echo {marker}",
            ts=ts,
            event_id=f"Ev{marker}",
            person=Person(),
            channel=channel,
            kind="app_mention",
        )
        await self.until_accepted(sent, lambda: self._post_slack(request))

    def _make_invoke(self, agent: str) -> Send:
        async def send(marker: str) -> None:
            sent = self.note(marker, "invoke", agent)
            await self.until_accepted(sent, lambda: self._post_api(sent, agent, marker, idempotency_key=marker))

        return send

    async def _invoke_once(self, marker: str) -> None:
        sent = self.note(marker, "invoke", "echo")
        await self._attempt(sent, lambda: self._post_api(sent, "echo", marker))

    async def _notes(self, prefix: str, conversation: str, count: int, pause_seconds: float = 0.0) -> None:
        for index in range(count):
            await asyncio.sleep(pause_seconds)
            # One after the other, also over the rounds: the order of the ledger is the order of intake.
            async with self._turns.setdefault(conversation, asyncio.Lock()):
                marker = f"n{prefix}-{index}x"
                sent = self.note(marker, "note", "memo")
                sent.conversation = conversation

                async def once(sent: Sent = sent, marker: str = marker) -> int | None:
                    more = {"idempotency_key": marker, "conversation_id": conversation}
                    return await self._post_api(sent, "memo", marker, **more)

                await self.until_accepted(sent, once)

    def note(self, marker: str, kind: str, agent: str) -> Sent:
        """A new line of the ledger."""
        sent = Sent(marker, kind, agent)
        self.ledger.append(sent)
        return sent

    async def _attempt(self, sent: Sent, post: Callable[[], Awaitable[int | None]]) -> None:
        sent.tries += 1
        status = await post()
        if status is not None:
            sent.statuses.append(status)
        sent.accepted = sent.accepted or status in (200, 202)

    async def until_accepted(self, sent: Sent, post: Callable[[], Awaitable[int | None]]) -> None:
        while not sent.accepted:
            await self._attempt(sent, post)
            if not sent.accepted:
                await asyncio.sleep(self._pause_seconds)
                await self._up.wait()

    async def _post_slack(self, request: SlackRequest) -> int | None:
        signed = request.signed(SECRET, self._clock.now())
        return await self._post(signed.path, content=signed.body, headers=signed.headers)

    async def _post_api(self, sent: Sent, agent: str, text: str, **more: str) -> int | None:
        body = {"agent": agent, "input": text, **more}
        assert self._api is not None
        try:
            answer = await self._api.post("/api/v1/agents/invoke", json=body)
        except (httpx2.TransportError, RuntimeError):
            return None
        if answer.status_code == 202:
            task_id = str(answer.json()["task_id"])
            assert sent.task_id in (None, task_id), f"{sent.marker} became two tasks"
            sent.task_id = task_id
        return answer.status_code

    async def _post(self, path: str, *, content: bytes, headers: dict[str, str]) -> int | None:
        """The status; None where no answer came."""
        assert self._gateway is not None
        try:
            answer = await self._gateway.post(path, content=content, headers=headers)
        except (httpx2.TransportError, RuntimeError):
            return None
        # A line in the body of a 200 to a command is the honest "not recorded", not an acceptance.
        return (
            503 if b"cannot record" in answer.content or b"could not confirm" in answer.content else answer.status_code
        )
