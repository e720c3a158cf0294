"""`kill -9` in the middle of Slack's traffic: nothing acknowledged is lost, nothing is said or done twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import func, select

from callboard.clock import SystemClock
from callboard.integrations.slack_files import OwedFile
from callboard.integrations.slack_local import LocalSlack
from callboard.integrations.slack_wire import Channel, Person, SlackRequest, message_event, slash_command
from callboard.messaging.reply import ReplyTo
from callboard.state.deliveries import DeliveryDraft
from callboard.state.delivery_store import DeliveryStore
from callboard.state.models import events
from tests.support.http_client import no_certificates
from tests.support.processes import Child, child
from tests.support.slack_app import SECRET
from tests.support.sqlite_file import open_sqlite
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
EVENT = message_event("hello", ts="1763.000100", event_id="Ev1", person=Person(), channel=Channel())
COMMAND = slash_command(
    "/standup hi", person=Person(), channel=Channel(), response_url="https://hooks.slack.com/1", trigger_id="t1"
)


@contextlib.contextmanager
def gateway(folder: Path, slack: LocalSlack, failpoint: str = "") -> Iterator[tuple[Child, str]]:
    arguments = ("-m", "tests.support.slack_process", str(folder), slack.api_url)
    with child(*arguments, env={"CALLBOARD_FAILPOINT": failpoint}) as running:
        yield running, running.wait_for("listening on").removeprefix("listening on ")


async def post(url: str, request: SlackRequest, **headers: str) -> int | None:
    """The status; None when the connection broke."""
    signed = request.signed(SECRET, SystemClock().now(), headers)
    async with httpx2.AsyncClient(trust_env=False, verify=no_certificates()) as http:
        try:
            return (await http.post(url + signed.path, content=signed.body, headers=signed.headers)).status_code
        except httpx2.TransportError:
            return None


async def stored(folder: Path) -> int:
    async with open_sqlite(folder) as database:
        return await database.read(lambda connection: connection.execute(select(func.count(events.c.seq))).scalar_one())


@pytest.mark.parametrize(("failpoint", "kept"), [("gateway.verified", 0), ("gateway.accepted", 1)])
async def test_A11_an_event_cut_off_by_a_kill_is_recorded_once_when_slack_sends_it_again(
    tmp_path: Path, failpoint: str, kept: int
) -> None:
    async with LocalSlack() as slack:
        with gateway(tmp_path, slack, failpoint) as (running, url):
            assert await post(url, EVENT) is None
            assert await asyncio.to_thread(running.exit_code) == -9
        assert await stored(tmp_path) == kept
        with gateway(tmp_path, slack) as (_, url):
            for number in "123":
                assert await post(url, EVENT, **{"x-slack-retry-num": number}) == 200
        assert await stored(tmp_path) == 1


@pytest.mark.parametrize(("failpoint", "kept"), [("gateway.verified", 0), ("gateway.accepted", 1)])
async def test_A11_a_command_cut_off_by_a_kill_is_never_recorded_twice(
    tmp_path: Path, failpoint: str, kept: int
) -> None:
    async with LocalSlack() as slack:
        with gateway(tmp_path, slack, failpoint) as (running, url):
            assert await post(url, COMMAND) is None
            assert await asyncio.to_thread(running.exit_code) == -9
        assert await stored(tmp_path) == kept


@pytest.mark.parametrize("failpoint", ["responder.attempting", "responder.sent"])
@pytest.mark.parametrize("way", ["channel", "response url"])
async def test_an_answer_cut_off_by_a_kill_is_seen_exactly_once(tmp_path: Path, failpoint: str, way: str) -> None:
    async with LocalSlack() as slack:
        target = ReplyTo(channel="C1", thread_ts="1.5", team="T1")
        if way == "response url":
            target = ReplyTo(channel="C1", response_url=slack.response_url("C1", "U1"), mode="channel", team="T1")
        draft = DeliveryDraft(id="a" * 32, kind="notice", target=target, trace_id=TRACE, body={"text": "once"})
        async with open_sqlite(tmp_path) as database:
            await DeliveryStore(database, SystemClock()).plan([draft])
        with gateway(tmp_path, slack, failpoint) as (running, _):
            assert await asyncio.to_thread(running.exit_code) == -9
        assert len(slack.messages) == (1 if failpoint == "responder.sent" else 0)
        with gateway(tmp_path, slack):
            await wait_until(
                lambda: slack.calls_of("conversations.replies" if way == "channel" else "conversations.history"),
                "a look",
            )
            await wait_until(lambda: slack.messages, "the answer")
            draft = DeliveryDraft(id="b" * 32, kind="notice", target=target, trace_id=TRACE, body={"text": "next"})
            async with open_sqlite(tmp_path) as database:
                await DeliveryStore(database, SystemClock()).plan([draft])
            await wait_until(lambda: len(slack.messages) > 1, "the next message")
        assert [message.text for message in slack.messages] == ["once", "next"]


FILE_STEPS = ["responder.file_named", "responder.file_uploaded", "responder.file_known", "responder.file_shared"]


@pytest.mark.parametrize("failpoint", FILE_STEPS)
@pytest.mark.parametrize("thread", ["1.5", None])
async def test_a_file_cut_off_by_a_kill_is_seen_exactly_once(
    tmp_path: Path, failpoint: str, thread: str | None
) -> None:
    target = ReplyTo(channel="C1", thread_ts=thread, mode="thread" if thread else "channel", team="T1")
    owed = OwedFile(artifact_id="f" * 32, name="sales.png", answer_to=target)
    draft = DeliveryDraft(id="a" * 32, kind="file", target=target, trace_id=TRACE, run_id="1" * 32, body=owed.body())
    async with LocalSlack() as slack:
        async with open_sqlite(tmp_path) as database:
            await DeliveryStore(database, SystemClock()).plan([draft])
        with gateway(tmp_path, slack, failpoint) as (running, _):
            assert await asyncio.to_thread(running.exit_code) == -9
        assert len(slack.messages) == (1 if failpoint == "responder.file_shared" else 0)
        draft = DeliveryDraft(id="b" * 32, kind="notice", target=target, trace_id=TRACE, body={"text": "next"})
        async with open_sqlite(tmp_path) as database:
            await DeliveryStore(database, SystemClock()).plan([draft])
        with gateway(tmp_path, slack):
            # It is looked for twice before it is shown again, some seconds apart.
            await wait_until(lambda: any(m.text == "next" for m in slack.messages), "the next message", within=40.0)
        assert [[file.name for file in message.files] for message in slack.messages] == [["sales.png"], []]
        assert slack.messages[0].thread_ts == thread
