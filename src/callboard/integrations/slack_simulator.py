"""Plays Slack towards a running gateway: signs and sends what Slack would send, and shows what comes back.

What comes back goes to the local Slack, so the system under test must have its `SLACK_API_URL` on the same host.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx2

from callboard.clock import Clock, SystemClock
from callboard.errors import InvalidInputError, NotFoundError, UnavailableError
from callboard.ids import Ids, RandomIds
from callboard.integrations.slack_blocks import FILES_TO_FOLLOW
from callboard.integrations.slack_local import LocalSlack
from callboard.integrations.slack_local_workspace import BOT_USER, LocalMessage
from callboard.integrations.slack_wire import (
    Channel,
    Person,
    SlackRequest,
    button_click,
    filled_in,
    message_event,
    slash_command,
    view_submission,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The gateway's own answer to one request, and what identifies the messages that will follow it."""

    status: int
    body: str
    seconds: float
    channel: str
    response_url: str | None = None
    ts: str | None = None

    @property
    def accepted(self) -> bool:
        return self.status == 200

    def is_answered_by(self, message: LocalMessage) -> bool:
        """Whether a message belongs to this request: by its response URL, or by its thread."""
        if self.response_url is not None and message.response_token is not None:
            return self.response_url.endswith("/" + message.response_token)
        return message.channel == self.channel and self.ts is not None and message.thread_ts == self.ts


class SlackSimulator:
    """A person in the local workspace, in front of one gateway; an async context manager.

    `gateway_url` is the address without a path. Raises UnavailableError when nobody listens there.
    """

    def __init__(
        self,
        slack: LocalSlack,
        *,
        gateway_url: str,
        signing_secret: str,
        person: Person = Person(),  # noqa: B008  # frozen
        channel: Channel = Channel(),  # noqa: B008  # frozen
        clock: Clock | None = None,
        ids: Ids | None = None,
    ) -> None:
        self._slack = slack
        self._secret = signing_secret
        self._person = person
        self._channel = channel
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._http = httpx2.AsyncClient(base_url=gateway_url, timeout=10.0, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def say(self, line: str) -> Acknowledged:
        """What a person types: `/command …`, `@callboard …` (a mention), or any other text (a message)."""
        if line.startswith("/"):
            return await self.command(line)
        if line.startswith("@"):
            return await self.mention(line.partition(" ")[2])
        return await self.message(line)

    async def command(self, line: str) -> Acknowledged:
        """A slash command. Raises InvalidInputError for a line without one."""
        if not line.startswith("/") or len(line.split(maxsplit=1)[0]) < 2:
            raise InvalidInputError(f"{line!r} is no slash command: write it like '/standup hello'", field="text")
        url = self._slack.response_url(self._channel.id, self._person.id)
        request = slash_command(
            line, person=self._person, channel=self._channel, response_url=url, trigger_id=self._ids.new()
        )
        return await self._send(request, response_url=url)

    async def mention(self, text: str, *, thread_ts: str | None = None) -> Acknowledged:
        """A message that begins with the bot's name."""
        return await self._write(f"<@{BOT_USER}> {text}", "app_mention", thread_ts)

    async def message(self, text: str, *, thread_ts: str | None = None) -> Acknowledged:
        """A message in the simulator's channel."""
        return await self._write(text, "message", thread_ts)

    async def click(self, message: LocalMessage, label: str, *, person: Person | None = None) -> Acknowledged:
        """Press the button with that label. Raises NotFoundError where the message has none."""
        button = next((item for item in message.buttons if item["text"]["text"] == label), None)
        if button is None:
            labels = ", ".join(item["text"]["text"] for item in message.buttons) or "none"
            raise NotFoundError(f"the message has no button {label!r}; its buttons: {labels}", field="label")
        who = person or self._person
        url = self._slack.response_url(message.channel, who.id, message_ts=message.ts)
        request = button_click(message, button, person=who, response_url=url, trigger_id=self._ids.new())
        return await self._send(request, response_url=url)

    async def submit(self, text: str, *, view: dict[str, Any] | None = None) -> Acknowledged:
        """Fill in the only field of a form (the one opened last) and send it."""
        if view is None and not self._slack.workspace.views:
            raise NotFoundError("no form was opened", field="view")
        form = view if view is not None else self._slack.workspace.views[-1]
        block = next(item for item in form["blocks"] if item["type"] == "input")
        values = {block["block_id"]: {block["element"]["action_id"]: text}}
        return await self._send(view_submission(form, values, person=self._person, trigger_id=self._ids.new()))

    async def fill(
        self, entered: Mapping[str, str], *, view: dict[str, Any] | None = None, person: Person | None = None
    ) -> Acknowledged:
        """Fill in fields of a form (the one opened last) by their labels, leave the others as they are, and send it.

        Of a list of options the label is chosen. Raises NotFoundError for a field that the form does not have.
        """
        if view is None and not self._slack.workspace.views:
            raise NotFoundError("no form was opened", field="view")
        form = view if view is not None else self._slack.workspace.views[-1]
        request = view_submission(
            form, filled_in(form, entered), person=person or self._person, trigger_id=self._ids.new()
        )
        return await self._send(request)

    async def wait_for(
        self, wanted: Callable[[LocalMessage], bool], what: str, *, within_seconds: float = 30.0
    ) -> LocalMessage:
        """The first message that is wanted. Raises UnavailableError when none comes in that time."""
        deadline = time.monotonic() + within_seconds
        while True:
            found = next((message for message in self._slack.messages if wanted(message)), None)
            if found is not None:
                return found
            left = deadline - time.monotonic()
            if left <= 0 or not await self._slack.changed(left):
                raise UnavailableError(f"nothing came back within {within_seconds:g} s: {what}", code="no_answer")

    async def answer_to(self, sent: Acknowledged, *, within_seconds: float = 30.0) -> LocalMessage:
        """The first message that belongs to a request of this simulator's."""
        return await self.wait_for(sent.is_answered_by, "an answer", within_seconds=within_seconds)

    async def following(self, answer: LocalMessage, *, within_seconds: float = 30.0) -> tuple[LocalMessage, ...]:
        """The messages with the files that an answer announces, or with why there is none; those that came in time."""
        announced = FILES_TO_FOLLOW.search(answer.shown)
        if announced is None:
            return ()
        count = int(announced[1])
        deadline = time.monotonic() + within_seconds
        while True:
            later = self._slack.messages[self._slack.messages.index(answer) + 1 :]
            found = tuple(message for message in later if message.channel == answer.channel)[:count]
            left = deadline - time.monotonic()
            if len(found) == count or left <= 0:
                return found
            await self._slack.changed(left)

    async def post(self, request: SlackRequest, **headers: str) -> httpx2.Response:
        """Sign and send any request of Slack's."""
        signed = request.signed(self._secret, self._clock.now(), headers)
        try:
            return await self._http.post(signed.path, content=signed.body, headers=signed.headers)
        except httpx2.ConnectError as error:
            raise UnavailableError(
                f"no gateway listens at {self._http.base_url}: start one with `callboard up`"
            ) from error

    async def _write(self, text: str, kind: str, thread_ts: str | None) -> Acknowledged:
        ts = self._slack.workspace.new_ts()
        request = message_event(
            text,
            ts=ts,
            event_id=f"Ev{self._ids.new()}",
            person=self._person,
            channel=self._channel,
            kind=kind,
            thread_ts=thread_ts,
        )
        return await self._send(request, ts=thread_ts or ts)

    async def _send(
        self, request: SlackRequest, *, response_url: str | None = None, ts: str | None = None
    ) -> Acknowledged:
        started = time.perf_counter()
        response = await self.post(request)
        return Acknowledged(
            status=response.status_code,
            body=response.text,
            seconds=time.perf_counter() - started,
            channel=self._channel.id,
            response_url=response_url,
            ts=ts,
        )


async def simulate(
    line: str,
    *,
    slack: LocalSlack,
    gateway_url: str,
    signing_secret: str,
    within_seconds: float = 30.0,
) -> tuple[Acknowledged, tuple[LocalMessage, ...]]:
    """One line typed into Slack: how the gateway acknowledged it and, when it was accepted, the first answer and the
    files that come with it.

    Raises UnavailableError when no gateway listens or no answer comes in that time.
    """
    async with SlackSimulator(slack, gateway_url=gateway_url, signing_secret=signing_secret) as simulator:
        sent = await simulator.say(line)
        if not sent.accepted:
            return sent, ()
        answer = await simulator.answer_to(sent, within_seconds=within_seconds)
        return sent, (answer, *await simulator.following(answer, within_seconds=within_seconds))
