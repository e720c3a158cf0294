"""Messages to people: each once, in order, at Slack's pace, and never silently lost (RELIABILITY.md, B1 to B5)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callboard.clock import ManualClock
from callboard.errors import NotFoundError, UnavailableError
from callboard.integrations.slack_blocks import Content, NoticeContent
from callboard.integrations.slack_client import SlackClient
from callboard.integrations.slack_content import notice_content
from callboard.integrations.slack_local import RESPONSE_URL, Fault, LocalSlack
from callboard.integrations.slack_responder import SlackResponder
from callboard.lifecycle import StopSignal
from callboard.messaging.reply import RESPONSE_URL_LIFE, ReplyTo
from callboard.state.database import Database
from callboard.state.deliveries import MAX_REPEATS, AttemptOutcome, Delivery, DeliveryDraft, DeliveryStatus
from callboard.state.delivery_store import DeliveryStore
from callboard.state.process_store import ProcessStore
from tests.support.slack_app import TOKEN
from tests.support.slack_world import Silence
from tests.support.sqlite_file import open_sqlite
from tests.support.waiting import wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
POST = "chat.postMessage"


@dataclass(slots=True)
class Desk:
    """One responder over a real ledger and a local Slack, on a clock that the test moves."""

    clock: ManualClock
    database: Database
    store: DeliveryStore
    slack: LocalSlack
    responder: SlackResponder
    other: SlackResponder
    planned: int = 0

    async def plan(self, target: ReplyTo, text: str = "", **fields: Any) -> str:
        self.planned += 1
        given = {"id": f"{self.planned:032x}", "kind": "notice", "body": {"text": text or f"m{self.planned}"}, **fields}
        await self.store.plan([DeliveryDraft(target=target, trace_id=TRACE, run_id="1" * 32, **given)])
        return str(given["id"])

    async def work(self, seconds: float = 0.0) -> None:
        """Let that much time pass in half seconds, sending what falls due."""
        await self.all_due()
        for _ in range(round(seconds * 2)):
            await self.clock.advance(0.5)
            await self.all_due()

    async def all_due(self) -> None:
        while await self.responder.work_once():
            pass

    async def of(self, delivery_id: str) -> Delivery:
        found = [item for item in await self.store.of_trace(TRACE) if item.id == delivery_id]
        assert len(found) == 1
        return found[0]

    async def status(self, delivery_id: str) -> DeliveryStatus:
        return (await self.of(delivery_id)).status

    def texts(self) -> list[str]:
        return [message.text for message in self.slack.messages]


async def say(delivery: Delivery) -> Content:
    return notice_content(delivery)


@contextlib.asynccontextmanager
async def desk_in(folder: Path, *, token: str | None = TOKEN, content: Any = say) -> AsyncIterator[Desk]:
    clock = ManualClock()
    async with (
        open_sqlite(folder) as database,
        LocalSlack(clock=clock) as slack,
        SlackClient(token, api_url=slack.api_url, timeout_seconds=3.0) as client,
    ):
        store = DeliveryStore(database, clock)
        one, two = (SlackResponder(store, client, content, clock, owner) for owner in ("one", "two"))
        yield Desk(clock=clock, database=database, store=store, slack=slack, responder=one, other=two)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk_in(tmp_path) as opened:
        yield opened


def channel(name: str = "C1", thread: str | None = None) -> ReplyTo:
    return ReplyTo(channel=name, thread_ts=thread, mode="thread" if thread else "channel", team="T1")


def command(desk: Desk, mode: Any = "channel", name: str = "C1") -> ReplyTo:
    return ReplyTo(
        channel=name,
        response_url=desk.slack.response_url(name, "U1"),
        user="U1",
        mode=mode,
        team="T1",
        expires_at=desk.clock.now() + RESPONSE_URL_LIFE,
    )


async def test_an_answer_to_a_thread_is_posted_there_without_previews(desk: Desk) -> None:
    delivery = await desk.plan(channel(thread="1.5"), "All green")
    await desk.work()
    call = desk.slack.calls_of(POST)[0].arguments
    assert (call["channel"], call["thread_ts"], call["text"]) == ("C1", "1.5", "All green")
    assert (call["unfurl_links"], call["unfurl_media"], call["link_names"]) == (False, False, False)
    assert call["metadata"]["event_payload"] == {"delivery_id": delivery, "trace_id": TRACE}
    assert TRACE in str(call["blocks"][-1])
    sent = await desk.of(delivery)
    assert (sent.status, sent.sent_ts) == (DeliveryStatus.SENT, desk.slack.messages[0].ts)


@pytest.mark.parametrize(("mode", "visible_to"), [("ephemeral", "U1"), ("channel", None), ("thread", None)])
async def test_an_answer_to_a_command_goes_to_its_response_url(desk: Desk, mode: str, visible_to: str | None) -> None:
    await desk.plan(command(desk, mode))
    await desk.work()
    assert [(message.via, message.visible_to) for message in desk.slack.messages] == [("response_url", visible_to)]


async def test_a_private_answer_without_response_url_is_an_ephemeral_message(desk: Desk) -> None:
    await desk.plan(ReplyTo(channel="C1", user="U7", mode="ephemeral"))
    await desk.plan(ReplyTo(user="U7", mode="ephemeral"))
    await desk.work(1)
    assert [(m.channel, m.visible_to) for m in desk.slack.messages] == [("C1", "U7"), ("D7", None)]


async def test_messages_of_a_thread_keep_their_order_and_other_threads_do_not_wait(desk: Desk) -> None:
    desk.slack.fail(POST, Fault(kind="limit", retry_after=5))
    for text in ("a1", "a2", "a3"):
        await desk.plan(channel("CA", "1.1"), text)
    for text in ("b1", "b2"):
        await desk.plan(channel("CB", "2.2"), text)
    await desk.work(3)
    assert desk.texts() == ["b1", "b2"]
    await desk.work(6)
    assert desk.texts() == ["b1", "b2", "a1", "a2", "a3"]


async def test_a_message_whose_fate_is_being_looked_up_is_not_overtaken_in_its_thread(desk: Desk) -> None:
    desk.slack.fail(POST, Fault(kind="drop"))
    for text in ("a1", "a2"):
        await desk.plan(channel("CA", "1.1"), text)
    await desk.plan(channel("CA", "2.2"), "b1")
    await desk.work(6)
    assert desk.texts() == ["b1", "a1", "a2"]


@pytest.mark.parametrize("seconds", [1, 30, 120])
async def test_B1_a_channel_waits_as_long_as_slack_says_and_no_other_does(desk: Desk, seconds: int) -> None:
    desk.slack.fail(POST, Fault(kind="limit", retry_after=seconds))
    first = await desk.plan(channel("CA", "1.1"))
    await desk.plan(channel("CA", "9.9"))
    await desk.work()
    await desk.plan(channel("CA"))
    await desk.plan(channel("CB"))
    await desk.work(seconds + 4)
    calls = desk.slack.calls_of(POST)
    refused = calls[0]
    later = [call for call in calls[1:] if call.arguments["channel"] == "CA"]
    assert len(later) == 3
    assert all(call.at - refused.at >= timedelta(seconds=seconds) for call in later)
    assert calls[1].arguments["channel"] == "CB"
    assert calls[1].at - refused.at < timedelta(seconds=1)
    assert (await desk.of(first)).attempt == 2


async def test_B1_a_channel_gets_at_most_one_message_a_second_from_all_responders(desk: Desk) -> None:
    for number in range(5):
        await desk.plan(channel("CA", f"{number}.1"))
    for _ in range(24):
        await asyncio.gather(desk.responder.work_once(), desk.other.work_once())
        await desk.clock.advance(0.25)
    times = [call.at for call in desk.slack.calls_of(POST)]
    assert len(times) == 5
    assert all(later - earlier >= timedelta(seconds=1) for earlier, later in itertools.pairwise(times))


async def test_B1_a_response_url_waits_for_its_own_limit_only(desk: Desk) -> None:
    desk.slack.fail(RESPONSE_URL, Fault(kind="limit", retry_after=30))
    limited = await desk.plan(command(desk), "limited")
    await desk.work()
    await desk.plan(command(desk), "free")
    await desk.work(29)
    assert desk.texts() == ["free"]
    await desk.work(2)
    assert desk.texts() == ["free", "limited"]
    assert await desk.status(limited) is DeliveryStatus.SENT


async def test_B1_an_update_waits_too(desk: Desk) -> None:
    ts = desk.slack.workspace.call(POST, {"channel": "C1", "text": "?"})["ts"]
    desk.slack.fail("chat.update", Fault(kind="limit", retry_after=30))
    await desk.plan(channel(), kind="answered", body={"text": "Answered", "message_ts": ts})
    await desk.work(29)
    assert desk.slack.workspace.find("C1", ts).edits == 0
    await desk.work(2)
    assert desk.slack.workspace.find("C1", ts).text == "Answered"


@pytest.mark.parametrize("effective", [True, False])
@pytest.mark.parametrize("kind", ["drop", "hang", "status"])
@pytest.mark.parametrize("thread", [None, "1.5"])
async def test_B2_an_outcome_that_got_lost_is_looked_up_before_anything_is_sent_again(
    desk: Desk, kind: Any, effective: bool, thread: str | None
) -> None:
    desk.slack.fail(POST, Fault(kind=kind, effective=effective))
    delivery = await desk.plan(channel(thread=thread), "once")
    await desk.work(1)
    assert await desk.status(delivery) is DeliveryStatus.ATTEMPTING
    await desk.work(5)
    assert desk.texts() == ["once"]
    assert await desk.status(delivery) is DeliveryStatus.SENT
    assert len(desk.slack.calls_of(POST)) == (1 if effective else 2)


async def test_B2_the_look_up_survives_slack_being_slow_to_answer_it(desk: Desk) -> None:
    desk.slack.fail(POST, Fault(kind="drop", effective=True))
    desk.slack.fail("conversations.history", Fault(kind="limit", retry_after=5), Fault(kind="status", status=503))
    delivery = await desk.plan(channel(), "once")
    await desk.work(20)
    assert desk.texts() == ["once"]
    assert await desk.status(delivery) is DeliveryStatus.SENT


@pytest.mark.parametrize("effective", [True, False])
async def test_B2_where_slack_cannot_tell_the_message_is_said_again_and_says_so(desk: Desk, effective: bool) -> None:
    desk.slack.fail(RESPONSE_URL, Fault(kind="drop", effective=effective))
    delivery = await desk.plan(command(desk, "ephemeral"), "secret")
    await desk.work(10)
    assert await desk.status(delivery) is DeliveryStatus.UNKNOWN
    last = desk.slack.messages[-1]
    assert "may be a repeat" in last.shown
    assert len(desk.slack.messages) == (2 if effective else 1)
    assert len(desk.slack.calls_of(RESPONSE_URL)) == 2


async def test_B2_a_repeat_is_not_repeated_for_ever(desk: Desk) -> None:
    for method in (RESPONSE_URL, "chat.postEphemeral"):
        desk.slack.fail(method, *(Fault(kind="drop") for _ in range(9)))
    await desk.plan(command(desk, "ephemeral"))
    await desk.work(60)
    # Looking whether an attempt arrived counts as a use of the URL too, so the last repeat goes through the channel.
    assert len(desk.slack.calls) == 1 + MAX_REPEATS
    assert await desk.store.counts() == {"unknown": 1 + MAX_REPEATS}


async def test_B2_an_answer_to_a_command_in_the_channel_is_found_by_its_footer(desk: Desk) -> None:
    desk.slack.fail(RESPONSE_URL, Fault(kind="drop", effective=True))
    delivery = await desk.plan(command(desk), "once")
    await desk.work(10)
    assert desk.texts() == ["once"]
    assert await desk.status(delivery) is DeliveryStatus.SENT


async def test_B2_a_server_that_cannot_be_reached_is_tried_until_it_can(tmp_path: Path) -> None:
    async with desk_in(tmp_path) as desk:
        async with SlackClient(TOKEN, api_url="http://127.0.0.1:9/api/", timeout_seconds=0.3) as nobody:
            away = SlackResponder(desk.store, nobody, say, desk.clock, "three")
            delivery = await desk.plan(channel(), "late")
            for _ in range(10):
                await away.work_once()
                await desk.clock.advance(10)
        assert await desk.status(delivery) is DeliveryStatus.PLANNED
        assert (await desk.of(delivery)).error == {
            "code": "slack_unreachable",
            "message": "Slack cannot be reached: ConnectError",
        }
        await desk.work(60)
        assert desk.texts() == ["late"]


async def test_B3_a_sixth_use_and_a_late_one_go_to_the_channel(desk: Desk) -> None:
    target = command(desk)
    for _ in range(7):
        await desk.plan(target)
    late = command(desk)
    await desk.clock.advance(31 * 60)
    await desk.plan(late, "late")
    fresh = command(desk, name="C2")
    for _ in range(7):
        await desk.plan(fresh)
    await desk.work(20)
    assert await desk.store.counts() == {"sent": 15}
    by_channel = {name: [m.via for m in desk.slack.messages if m.channel == name] for name in ("C1", "C2")}
    assert by_channel["C1"] == [POST] * 8
    assert by_channel["C2"] == ["response_url"] * 5 + [POST] * 2
    assert [m.text for m in desk.slack.messages if m.channel == "C2"] == [f"m{number}" for number in range(9, 16)]


async def test_B3_a_response_url_that_slack_has_forgotten_is_replaced_by_the_channel(desk: Desk) -> None:
    target = command(desk)
    desk.slack.workspace.addresses.clear()
    await desk.plan(target, "found you")
    await desk.plan(ReplyTo(channel="C9", user="U1", mode="ephemeral", response_url=target.response_url), "psst")
    await desk.work(3)
    assert [(m.via, m.text) for m in desk.slack.messages] == [(POST, "found you"), ("chat.postEphemeral", "psst")]


@pytest.mark.parametrize(
    "code", ["channel_not_found", "not_in_channel", "is_archived", "token_revoked", "invalid_auth", "surprise"]
)
async def test_B5_a_refusal_is_final_and_visible(desk: Desk, code: str) -> None:
    desk.slack.fail(POST, Fault(kind="error", code=code))
    delivery = await desk.plan(channel(thread="1.5"), "never")
    await desk.plan(channel(thread="1.5"), "next")
    await desk.work(10)
    refused = await desk.of(delivery)
    assert (refused.status, refused.error) == (DeliveryStatus.FAILED, {"code": "slack_refused", "message": code})
    assert delivery in [item.id for item in await desk.store.of_run("1" * 32)]
    assert desk.texts() == ["next"]
    assert len(desk.slack.calls_of(POST)) == 2


@pytest.mark.parametrize("code", ["fatal_error", "internal_error"])
async def test_B5_an_error_that_leaves_open_what_happened_is_looked_up(desk: Desk, code: str) -> None:
    desk.slack.fail(POST, Fault(kind="error", code=code, effective=True))
    await desk.plan(channel(), "once")
    await desk.work(10)
    assert desk.texts() == ["once"]


async def test_blocks_that_slack_does_not_like_are_left_out(desk: Desk) -> None:
    desk.slack.fail(POST, Fault(kind="error", code="invalid_blocks"))
    await desk.plan(channel(), "plain")
    await desk.work()
    assert [(message.text, message.blocks) for message in desk.slack.messages] == [("plain", ())]


async def test_B6_a_response_url_elsewhere_is_never_called(desk: Desk) -> None:
    for url in ("https://evil.example/x", "http://169.254.169.254/", "https://hooks.slack.com@evil.example/"):
        await desk.plan(ReplyTo(channel="C1", response_url=url, mode="channel"))
    await desk.work(5)
    assert [message.via for message in desk.slack.messages] == [POST] * 3


async def test_without_token_and_response_url_the_delivery_fails_with_the_way_out(tmp_path: Path) -> None:
    async with desk_in(tmp_path, token=None) as desk:
        nowhere = await desk.plan(channel(), "lost")
        answered = await desk.plan(command(desk), "found")
        await desk.work(2)
        assert await desk.status(answered) is DeliveryStatus.SENT
        failed = await desk.of(nowhere)
        assert failed.status is DeliveryStatus.FAILED
        assert "SLACK_BOT_TOKEN" in (failed.error or {})["message"]


async def test_a_crash_before_the_request_left_loses_nothing_and_doubles_nothing(desk: Desk) -> None:
    delivery = await desk.plan(channel(), "once")
    assert len(await desk.store.claim("dead", 10)) == 1
    await desk.work(60)
    assert desk.texts() == []
    await desk.store.release("dead")
    await desk.work(5)
    assert desk.texts() == ["once"]
    assert await desk.status(delivery) is DeliveryStatus.SENT


async def test_a_crash_after_the_request_arrived_is_found_out(desk: Desk) -> None:
    await desk.plan(channel(), "once")
    claimed = await desk.store.claim("dead", 10)
    arguments = {"event_type": "callboard_delivery", "event_payload": {"delivery_id": claimed[0].id}}
    desk.slack.workspace.call(POST, {"channel": "C1", "text": "once", "metadata": arguments})
    await desk.store.release("dead")
    await desk.work(5)
    assert desk.texts() == ["once"]
    assert desk.slack.calls_of(POST) == []


async def test_what_a_dead_process_had_under_way_is_taken_over(tmp_path: Path) -> None:
    async with desk_in(tmp_path) as desk:
        processes = ProcessStore(desk.database, Silence(), desk.clock)
        await processes.register("f" * 32, "responder", "here", 1)
        await desk.plan(channel(), "once")
        assert len(await desk.store.claim("f" * 32, 10)) == 1
        await desk.work(30)
        assert desk.texts() == []
        await processes.declare_dead(["f" * 32])
        await desk.work(5)
        assert desk.texts() == ["once"]


async def test_a_responder_that_was_taken_for_dead_writes_nothing_any_more(desk: Desk) -> None:
    await desk.plan(channel(), "once")
    zombies = await desk.store.claim("zombie", 10)
    await desk.store.release("zombie")
    await desk.work(5)
    assert not await desk.store.finish(zombies[0], AttemptOutcome(status=DeliveryStatus.FAILED))
    assert await desk.store.counts() == {"sent": 1}


async def test_C10_a_process_whose_lease_is_too_old_sends_nothing_and_whoever_has_one_does(tmp_path: Path) -> None:
    held = False
    async with desk_in(tmp_path) as desk, SlackClient(TOKEN, api_url=desk.slack.api_url) as client:
        frozen = SlackResponder(desk.store, client, say, desk.clock, "three", may_send=lambda: held)
        delivery = await desk.plan(channel(), "once")
        assert await frozen.work_once() == 1
        assert desk.texts() == []
        assert await desk.status(delivery) is DeliveryStatus.PLANNED
        held = True
        await desk.clock.advance(2)
        assert await frozen.work_once() == 1
        assert desk.texts() == ["once"]


async def test_a_responder_that_was_taken_for_dead_does_not_end_its_successors_attempt(desk: Desk) -> None:
    await desk.plan(channel(), "once")
    zombies = await desk.store.claim("zombie", 10)
    await desk.store.release("zombie")
    await desk.clock.advance(2)
    successors = await desk.store.claim("successor", 10)
    assert successors[0].interrupted
    assert not await desk.store.finish(zombies[0], AttemptOutcome(status=DeliveryStatus.FAILED))
    assert await desk.store.finish(successors[0], AttemptOutcome(status=DeliveryStatus.SENT))


async def test_a_message_is_planned_once_however_often(desk: Desk) -> None:
    for _ in range(3):
        await desk.plan(channel(), id="a" * 32)
    await desk.work(5)
    assert len(desk.slack.messages) == 1


async def test_two_responders_never_send_one_message_twice(desk: Desk) -> None:
    for number in range(30):
        await desk.plan(channel(f"C{number}"))
    await asyncio.gather(*(responder.work_once() for responder in (desk.responder, desk.other) * 3))
    await desk.work(2)
    assert len(desk.slack.messages) == 30


async def test_a_message_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    async def content(delivery: Delivery) -> Content:
        text = (delivery.body or {})["text"]
        if text == "gone":
            raise NotFoundError("the run is gone")
        if text == "broken":
            raise RuntimeError("a defect")
        return NoticeContent(text=text, trace_id=TRACE)

    async with desk_in(tmp_path, content=content) as desk:
        ids = [await desk.plan(channel(), text) for text in ("gone", "broken", "fine")]
        await desk.work(10)
        assert [await desk.status(item) for item in ids] == [
            DeliveryStatus.FAILED,
            DeliveryStatus.FAILED,
            DeliveryStatus.SENT,
        ]
        assert (await desk.of(ids[1])).error == {
            "code": "unwritable",
            "message": "the message could not be written; see the log",
        }


async def test_a_message_is_written_anew_after_an_error_that_nobody_foresaw(tmp_path: Path) -> None:
    failures = [AttributeError("a connection broke, and this is what its driver says")] * 2

    async def content(delivery: Delivery) -> Content:
        if failures:
            raise failures.pop()
        return notice_content(delivery)

    async with desk_in(tmp_path, content=content) as desk:
        item = await desk.plan(channel())
        await desk.work(6)
        assert await desk.status(item) is DeliveryStatus.SENT
        assert len(desk.slack.messages) == 1


async def test_a_message_waits_while_what_it_says_cannot_be_read(tmp_path: Path) -> None:
    failures = [UnavailableError("the database is away")] * 3

    async def content(delivery: Delivery) -> Content:
        if failures:
            raise failures.pop()
        return notice_content(delivery)

    async with desk_in(tmp_path, content=content) as desk:
        await desk.plan(channel(), "late")
        await desk.work(10)
        assert desk.texts() == ["late"]


async def test_the_loop_sends_when_woken_and_when_polling_and_stops_when_asked(desk: Desk) -> None:
    stop = StopSignal(desk.clock)
    running = asyncio.create_task(desk.responder.run(stop))
    await desk.plan(channel("C1"), "woken")
    desk.responder.wake()
    await wait_until(lambda: desk.texts() == ["woken"], "the first message")
    await desk.plan(channel("C2"), "polled")

    async def polled() -> bool:
        await desk.clock.advance(1)
        return desk.texts() == ["woken", "polled"]

    await wait_until(polled, "the second message")
    await wait_until(lambda: desk.store.counts(), "the ledger")
    stop.ask(desk.clock.monotonic() + 30)
    await asyncio.wait_for(running, 30)
