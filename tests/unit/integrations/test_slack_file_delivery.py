"""Files in Slack: each is seen once, at Slack's pace, or people read why not and how to fetch it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callboard.clock import ManualClock
from callboard.errors import NotFoundError, UnavailableError
from callboard.integrations.slack_blocks import AnswerFile, Content, ResultContent
from callboard.integrations.slack_client import SlackClient
from callboard.integrations.slack_content import notice_content
from callboard.integrations.slack_files import OwedFile
from callboard.integrations.slack_local import RESPONSE_URL, UPLOAD, Fault, LocalSlack
from callboard.integrations.slack_responder import UPLOADS_AT_ONCE, SlackResponder
from callboard.messaging.reply import ReplyTo
from callboard.state.deliveries import Delivery, DeliveryDraft, DeliveryStatus
from callboard.state.delivery_store import DeliveryStore
from tests.support.slack_app import TOKEN
from tests.support.sqlite_file import open_sqlite
from tests.support.waiting import wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
RUN = "1" * 32
PICTURE = "a" * 32
NAME, NAME_PLACE, SHOW = "a.png", "files.getUploadURLExternal", "files.completeUploadExternal"
BODY = b"\x89PNG of some length"
THREAD = ReplyTo(channel="C1", thread_ts="1.5", team="T1")


@dataclass(slots=True)
class Studio:
    """A responder whose answers name one picture, over a real ledger and a local Slack."""

    clock: ManualClock
    store: DeliveryStore
    slack: LocalSlack
    responder: SlackResponder
    other: SlackResponder
    bodies: dict[str, bytes]
    held: list[bool]
    meanwhile: Callable[[], Awaitable[None]] | None = None
    """What happens while the next file is read."""

    async def answer(self, target: ReplyTo = THREAD, delivery_id: str = "d" * 32) -> None:
        await self.store.plan(
            [DeliveryDraft(id=delivery_id, kind="result", target=target, trace_id=TRACE, run_id=RUN, body={})]
        )

    async def work(self, seconds: float = 0.0) -> None:
        """Let that much time pass in half seconds, sending what falls due."""
        await self._all_due()
        for _ in range(round(seconds * 2)):
            await self.clock.advance(0.5)
            await self._all_due()

    async def owed(self) -> Delivery:
        [file] = [item for item in await self.store.of_trace(TRACE) if item.kind == "file"]
        return file

    def pictures(self) -> list[tuple[str, str | None, str]]:
        return [(m.channel, m.thread_ts, file.name) for m in self.slack.messages for file in m.files]

    def said(self) -> list[str]:
        return [message.text for message in self.slack.messages if not message.files]

    async def _all_due(self) -> None:
        while await self.responder.work_once():
            pass


@contextlib.asynccontextmanager
async def studio_in(folder: Path) -> AsyncIterator[Studio]:
    clock, bodies, held = ManualClock(), {PICTURE: BODY}, [True]

    async def content(delivery: Delivery) -> Content:
        if delivery.kind == "notice":
            return notice_content(delivery)
        files = (AnswerFile(id=PICTURE, name=NAME),)
        return ResultContent(agent="painter", run_id=RUN, trace_id=TRACE, text="Here it is", files=files)

    async def file(artifact_id: str, tenant: str) -> bytes:
        if (artifact_id, tenant) != (PICTURE, "default") or PICTURE not in bodies:
            raise NotFoundError(f"there is no artifact {artifact_id}")
        if opened.meanwhile is not None:
            await opened.meanwhile()
        return bodies[artifact_id]

    async with (
        open_sqlite(folder) as database,
        LocalSlack(clock=clock) as slack,
        SlackClient(TOKEN, api_url=slack.api_url, timeout_seconds=3.0) as client,
    ):
        store = DeliveryStore(database, clock)
        one, two = (
            SlackResponder(store, client, content, clock, owner, file=file, may_send=lambda: held[0])
            for owner in ("one", "two")
        )
        opened = Studio(clock=clock, store=store, slack=slack, responder=one, other=two, bodies=bodies, held=held)
        yield opened


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    async with studio_in(tmp_path) as opened:
        yield opened


def methods(studio: Studio) -> list[str]:
    return [call.method for call in studio.slack.calls]


async def test_a_picture_follows_its_answer_a_second_later_in_the_same_thread(studio: Studio) -> None:
    await studio.answer()
    await studio.work()
    assert methods(studio) == ["chat.postMessage"]
    await studio.work(1)
    assert methods(studio) == ["chat.postMessage", NAME_PLACE, UPLOAD, SHOW]
    assert studio.pictures() == [("C1", "1.5", NAME)]
    [message] = [message for message in studio.slack.messages if message.files]
    assert (message.files[0].body, message.files[0].title, message.text) == (BODY, NAME, "")
    named = studio.slack.calls_of(NAME_PLACE)[0].arguments
    assert (named["filename"], named["length"]) == (NAME, str(len(BODY)))
    # What the bytes are posted with is the URL alone.
    assert studio.slack.calls_of(UPLOAD)[0].arguments["authorization"] is None
    assert (await studio.owed()).status is DeliveryStatus.SENT


async def test_an_answer_that_is_found_after_a_crash_brings_its_picture_too(studio: Studio) -> None:
    studio.slack.fail("chat.postMessage", Fault(kind="drop", effective=True))
    await studio.answer()
    await studio.work(10)
    assert studio.said() == ["Here it is"]
    assert studio.pictures() == [("C1", "1.5", NAME)]


async def test_an_answer_that_is_said_again_brings_its_picture_once(studio: Studio) -> None:
    studio.slack.fail("chat.postMessage", Fault(kind="drop", effective=True))
    studio.slack.fail("conversations.replies", Fault(kind="error", code="missing_scope"))
    await studio.answer()
    await studio.answer(delivery_id="e" * 32)
    await studio.work(20)
    assert studio.said() == ["Here it is"] * 3
    assert studio.pictures() == [("C1", "1.5", NAME)]


async def test_an_answer_to_a_name_or_a_person_has_its_picture_where_slack_put_it(studio: Studio) -> None:
    await studio.answer(ReplyTo(channel="#eng", mode="channel"))
    await studio.work(3)
    assert studio.pictures() == [("C_ENG", None, NAME)]


async def test_an_answer_to_a_person_has_its_picture_in_their_direct_messages(studio: Studio) -> None:
    await studio.answer(ReplyTo(user="U0ANNA", mode="channel"))
    await studio.work(3)
    assert studio.pictures() == [("D0ANNA", None, NAME)]


async def test_an_answer_by_response_url_has_its_picture_in_the_channel(studio: Studio) -> None:
    url = studio.slack.response_url("C1", "U1")
    await studio.answer(ReplyTo(channel="C1", response_url=url, user="U1", mode="channel"))
    await studio.work(3)
    assert [message.via for message in studio.slack.messages] == ["response_url", SHOW]


@pytest.mark.parametrize("step", [NAME_PLACE, UPLOAD, SHOW])
@pytest.mark.parametrize("seconds", [1, 30])
async def test_B1_a_file_waits_as_long_as_slack_says(studio: Studio, step: str, seconds: int) -> None:
    studio.slack.fail(step, Fault(kind="limit", retry_after=seconds))
    await studio.answer()
    await studio.work(seconds + 4)
    first, second = studio.slack.calls_of(step)
    assert second.at - first.at >= timedelta(seconds=seconds)
    assert studio.pictures() == [("C1", "1.5", NAME)]


async def test_B1_while_a_file_waits_its_channel_does_and_no_other(studio: Studio) -> None:
    studio.slack.fail(NAME_PLACE, Fault(kind="limit", retry_after=30))
    await studio.answer()
    await studio.work(2)
    await studio.store.plan(
        [
            DeliveryDraft(
                id=letter * 32,
                kind="notice",
                target=ReplyTo(channel=channel, team="T1"),
                trace_id=TRACE,
                body={"text": channel},
            )
            for letter, channel in (("7", "C1"), ("8", "C2"))
        ]
    )
    await studio.work(20)
    assert studio.said() == ["Here it is", "C2"]
    await studio.work(20)
    assert studio.said() == ["Here it is", "C2", "C1"]


@pytest.mark.parametrize(
    ("step", "kind"),
    # How long bytes may hang is what a large file may take.
    [(NAME_PLACE, "drop"), (NAME_PLACE, "hang"), (NAME_PLACE, "status"), (UPLOAD, "drop"), (UPLOAD, "status")],
)
@pytest.mark.parametrize("effective", [True, False])
async def test_B2_what_nobody_sees_is_done_again(studio: Studio, step: str, kind: Any, effective: bool) -> None:
    studio.slack.fail(step, Fault(kind=kind, effective=effective))
    await studio.answer()
    await studio.work(1)
    assert (await studio.owed()).status is DeliveryStatus.PLANNED
    await studio.work(5)
    assert studio.pictures() == [("C1", "1.5", NAME)]
    assert len(studio.slack.calls_of(SHOW)) == 1
    assert studio.slack.calls_of("conversations.replies") == []


@pytest.mark.parametrize("target", [THREAD, ReplyTo(channel="C1", mode="channel")])
@pytest.mark.parametrize("kind", ["drop", "hang", "status"])
@pytest.mark.parametrize("effective", [True, False])
async def test_B2_whether_a_file_was_shown_is_looked_up_before_it_is_shown_again(
    studio: Studio, target: ReplyTo, kind: Any, effective: bool
) -> None:
    studio.slack.fail(SHOW, Fault(kind=kind, effective=effective))
    await studio.answer(target)
    await studio.work(15)
    assert [name for _, _, name in studio.pictures()] == [NAME]
    assert len(studio.slack.calls_of(SHOW)) == (1 if effective else 2)
    assert len(studio.slack.calls_of(UPLOAD)) == 1
    assert (await studio.owed()).status is DeliveryStatus.SENT


async def test_B2_a_file_that_slack_shows_late_is_not_shown_twice(studio: Studio) -> None:
    """Slack says yes, or nothing, and shows the file only after it was scanned."""
    studio.slack.fail(SHOW, Fault(kind="drop"))
    await studio.answer()
    await studio.work(1)
    while not studio.slack.calls_of("conversations.replies"):
        await studio.work(0.5)
    file_id = str((await studio.owed()).body["file_id"])  # type: ignore[index]
    studio.slack.workspace.call(SHOW, {"files": [{"id": file_id}], "channel_id": "C1", "thread_ts": "1.5"})
    await studio.work(10)
    assert studio.pictures() == [("C1", "1.5", NAME)]
    assert len(studio.slack.calls_of(SHOW)) == 1
    assert (await studio.owed()).status is DeliveryStatus.SENT


async def test_B2_where_nobody_can_look_the_file_is_not_shown_again_and_people_are_told(studio: Studio) -> None:
    studio.slack.fail(SHOW, Fault(kind="drop", effective=True))
    studio.slack.fail("conversations.replies", Fault(kind="error", code="missing_scope"))
    await studio.answer()
    await studio.work(15)
    assert len(studio.slack.calls_of(SHOW)) == 1
    assert (await studio.owed()).status is DeliveryStatus.UNKNOWN
    assert studio.said()[1:] == [
        f"Whether {NAME} arrived here is not known. `callboard artifacts get {PICTURE} -f {NAME}` fetches it."
    ]


async def test_B2_slack_that_takes_no_id_twice_may_have_taken_the_first(studio: Studio) -> None:
    studio.slack.fail(SHOW, Fault(kind="drop"), Fault(kind="error", code="file_not_found"))
    await studio.answer()
    await studio.work(15)
    assert (await studio.owed()).status is DeliveryStatus.UNKNOWN
    assert "is not known" in studio.said()[1]


@pytest.mark.parametrize("step", [NAME_PLACE, SHOW])
@pytest.mark.parametrize("code", ["missing_scope", "not_in_channel", "is_archived", "invalid_auth", "surprise"])
async def test_B5_a_refusal_is_final_and_people_read_how_to_fetch_the_file(
    studio: Studio, step: str, code: str
) -> None:
    studio.slack.fail(step, Fault(kind="error", code=code))
    await studio.answer()
    await studio.work(10)
    owed = await studio.owed()
    assert (owed.status, owed.error) == (DeliveryStatus.FAILED, {"code": "slack_refused", "message": code})
    assert len(studio.slack.calls_of(step)) == 1
    assert studio.pictures() == []
    answer, apology = studio.slack.messages
    assert (answer.text, apology.thread_ts) == ("Here it is", "1.5")
    assert apology.text.startswith(f"{NAME} could not be put here: ")
    assert f"`callboard artifacts get {PICTURE} -f {NAME}` fetches it." in apology.text


async def test_B5_where_the_app_is_no_member_the_way_to_the_file_is_told_through_the_response_url(
    studio: Studio,
) -> None:
    studio.slack.workspace.accepts = lambda channel: False
    url = studio.slack.response_url("C1", "U1")
    await studio.answer(ReplyTo(channel="C1", response_url=url, user="U1", mode="channel"))
    await studio.work(5)
    assert [message.via for message in studio.slack.messages] == ["response_url"] * 2
    assert "invite it" in studio.said()[1]
    assert len(studio.slack.calls_of(RESPONSE_URL)) == 2


async def test_a_token_without_the_scope_is_told_by_its_name(studio: Studio) -> None:
    studio.slack.workspace.scopes -= {"files:write"}
    await studio.answer()
    await studio.work(5)
    assert "lacks the scope files:write" in studio.said()[1]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/upload",
        "http://files.slack.com/upload/v1/x",
        "https://files.slack.com@evil.example/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]:1/x",
        "https://files.slack.com:8443/x",
        "file:///etc/passwd",
        "",
    ],
)
async def test_B6_bytes_go_to_slacks_own_addresses_only(studio: Studio, url: str) -> None:
    studio.slack.workspace.files.place = url
    await studio.answer()
    await studio.work(0.5)
    if not url:
        # No address at all is an answer that was cut, not one that lies.
        studio.slack.workspace.files.place = None
        await studio.work(5)
        assert studio.pictures() == [("C1", "1.5", NAME)]
        return
    await studio.work(5)
    owed = await studio.owed()
    assert (owed.status, owed.error) == (
        DeliveryStatus.FAILED,
        {"code": "slack_refused", "message": "upload_url_refused"},
    )
    assert studio.slack.calls_of(UPLOAD) == []
    assert "is not Slack's" in studio.said()[1]


async def test_B6_a_redirect_of_the_bytes_is_not_followed(studio: Studio) -> None:
    studio.slack.fail(UPLOAD, Fault(kind="status", status=307))
    await studio.answer()
    await studio.work(5)
    assert len(studio.slack.calls_of(UPLOAD)) == 1
    assert (await studio.owed()).error == {"code": "slack_refused", "message": "redirect_refused"}


async def test_files_that_are_slow_to_upload_keep_no_message_from_being_sent(studio: Studio) -> None:
    """Of twenty slots the files may hold a few."""
    first = asyncio.Event()

    async def slow() -> None:
        await first.wait()

    count = 2 * UPLOADS_AT_ONCE
    runs = [f"{number:032x}" for number in range(count)]
    await studio.store.plan(
        [
            DeliveryDraft(
                id=run,
                kind="file",
                target=ReplyTo(channel=f"C{run}", mode="channel"),
                trace_id=TRACE,
                run_id=run,
                body=OwedFile(artifact_id=PICTURE, name=NAME, answer_to=THREAD).body(),
            )
            for run in runs
        ]
    )
    studio.meanwhile = slow
    uploading = asyncio.create_task(studio.responder.work_once())

    async def given_back() -> bool:
        return await studio.store.counts() == {"attempting": UPLOADS_AT_ONCE, "planned": count - UPLOADS_AT_ONCE}

    await wait_until(given_back, "those that found no place are given back")
    await studio.store.plan(
        [DeliveryDraft(id="e" * 32, kind="notice", target=THREAD, trace_id=TRACE, body={"text": "text"})]
    )
    assert await studio.responder.work_once() == 1
    assert studio.said() == ["text"]
    first.set()
    await uploading
    await studio.work(5)
    assert len(studio.pictures()) == count


async def test_a_file_that_is_gone_fails_and_holds_nobody_up(studio: Studio) -> None:
    studio.bodies.clear()
    await studio.answer()
    await studio.work(5)
    owed = await studio.owed()
    assert (owed.status, (owed.error or {})["code"]) == (DeliveryStatus.FAILED, "not_found")
    await studio.answer(delivery_id="e" * 32)
    await studio.work(5)
    assert studio.said() == ["Here it is"] * 2


async def test_C10_a_process_whose_lease_is_too_old_shows_no_file(studio: Studio) -> None:
    await studio.answer()
    await studio.work()
    studio.held[0] = False
    await studio.work(3)
    assert studio.slack.calls_of(NAME_PLACE) == []
    studio.held[0] = True
    await studio.work(3)
    assert studio.pictures() == [("C1", "1.5", NAME)]


async def test_a_responder_that_was_taken_for_dead_shows_no_file_any_more(studio: Studio) -> None:
    """It is uploading when somebody else takes the delivery, and sees so before it shows anything."""
    happened: list[str] = []

    async def taken_over() -> None:
        studio.meanwhile = None
        happened.append("taken over")
        await studio.store.release("one")
        await studio.clock.advance(1)
        assert await studio.other.work_once() == 1

    await studio.answer()
    await studio.work()
    studio.meanwhile = taken_over
    await studio.work(5)
    assert happened == ["taken over"]
    assert studio.pictures() == [("C1", "1.5", NAME)]
    assert (len(studio.slack.calls_of(UPLOAD)), len(studio.slack.calls_of(SHOW))) == (2, 1)
    assert (await studio.owed()).status is DeliveryStatus.SENT


async def test_a_file_waits_while_what_it_says_cannot_be_read(studio: Studio, tmp_path: Path) -> None:
    failures = [UnavailableError("the database is away")] * 2

    async def file(artifact_id: str, tenant: str) -> bytes:
        if failures:
            raise failures.pop()
        return BODY

    async def content(delivery: Delivery) -> Content:
        raise AssertionError("a file is no text")

    async with SlackClient(TOKEN, api_url=studio.slack.api_url, timeout_seconds=3.0) as client:
        third = SlackResponder(studio.store, client, content, studio.clock, "three", file=file)
        await studio.answer()
        await studio.work()
        for _ in range(5):
            await studio.clock.advance(1)
            await third.work_once()
    assert studio.pictures() == [("C1", "1.5", NAME)]
