"""The local Slack speaks Slack's Web API: Slack's own client is the judge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx2
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from callboard.clock import ManualClock
from callboard.integrations.slack_client import Done, Limited, NotSent, Refused, SlackClient, Unsure
from callboard.integrations.slack_local import RESPONSE_URL, UPLOAD, Fault, LocalSlack
from tests.support.http_client import no_certificates


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    async with LocalSlack(clock=ManualClock()) as running:
        yield running


@pytest.fixture
def client(slack: LocalSlack) -> AsyncWebClient:
    return AsyncWebClient(token="xoxb-1", base_url=slack.api_url, timeout=5, trust_env_in_session=False)


@pytest.fixture
async def ours(slack: LocalSlack) -> AsyncIterator[SlackClient]:
    async with SlackClient("xoxb-1", api_url=slack.api_url, timeout_seconds=3.0) as opened:
        yield opened


async def test_slacks_client_posts_updates_and_reads_back(slack: LocalSlack, client: AsyncWebClient) -> None:
    assert (await client.auth_test())["ok"]
    posted = await client.chat_postMessage(
        channel="#eng", text="hello", metadata={"event_type": "x", "event_payload": {"id": "7"}}
    )
    assert (posted["channel"], posted["message"]["text"]) == ("C_ENG", "hello")
    await client.chat_update(channel="C_ENG", ts=posted["ts"], text="bye")
    await client.chat_postMessage(channel="C_ENG", text="reply", thread_ts=posted["ts"])
    await client.chat_postEphemeral(channel="C_ENG", user="U1", text="psst")
    history = await client.conversations_history(channel="C_ENG", include_all_metadata=True)
    assert [message["text"] for message in history["messages"]] == ["bye"]
    assert history["messages"][0]["metadata"]["event_payload"] == {"id": "7"}
    replies = await client.conversations_replies(channel="C_ENG", ts=posted["ts"])
    assert [message["text"] for message in replies["messages"]] == ["bye", "reply"]
    assert [message.visible_to for message in slack.messages] == [None, None, "U1"]
    assert [call.method for call in slack.calls][:2] == ["auth.test", "chat.postMessage"]


async def test_slacks_client_uploads_a_file_into_a_thread(slack: LocalSlack, client: AsyncWebClient) -> None:
    asked = await client.chat_postMessage(channel="C1", text="draw it")
    done = await client.files_upload_v2(
        filename="sales.png", content=b"\x89PNG", title="Sales", channel="C1", thread_ts=asked["ts"]
    )
    file_id = done["files"][0]["id"]
    replies = await client.conversations_replies(channel="C1", ts=asked["ts"])
    [shown] = [file for message in replies["messages"] for file in message.get("files", ())]
    assert (shown["id"], shown["name"], shown["title"], shown["size"]) == (file_id, "sales.png", "Sales", 4)
    assert [file.body for message in slack.messages for file in message.files] == [b"\x89PNG"]
    assert [call.method for call in slack.calls if "hannel" not in call.method][1:4] == [
        "files.getUploadURLExternal",
        UPLOAD,
        "files.completeUploadExternal",
    ]


async def test_a_file_is_seen_once_its_bytes_are_there_and_only_once(slack: LocalSlack, client: AsyncWebClient) -> None:
    place = await client.files_getUploadURLExternal(filename="a.txt", length=3)

    async def refused(files: list[dict[str, str | None]], **where: str) -> str:
        with pytest.raises(SlackApiError) as refusal:
            await client.files_completeUploadExternal(files=files, **where)  # type: ignore[arg-type]
        return str(refusal.value.response["error"])

    wanted: list[dict[str, str | None]] = [{"id": place["file_id"]}]
    assert await refused(wanted, channel_id="C1") == "file_not_found"
    async with httpx2.AsyncClient(trust_env=False, verify=no_certificates()) as http:
        assert (await http.post(place["upload_url"], content=b"four")).status_code == 400
        assert (await http.post(place["upload_url"] + "0", content=b"abc")).status_code == 400
        taken = await http.post(place["upload_url"], content=b"abc")
    assert (taken.status_code, taken.text) == (200, "OK - 3")
    for channel in ("#eng", "U0ANNA", ""):
        assert await refused(wanted, channel_id=channel) == "invalid_arguments"
    assert await refused([], channel_id="C1") == "invalid_arguments"
    assert slack.messages == []
    assert (await client.files_completeUploadExternal(files=wanted, channel_id="C1"))["ok"]
    assert await refused(wanted, channel_id="C1") == "file_not_found"
    assert len(slack.messages) == 1


async def test_an_empty_file_and_a_token_without_the_scope_are_refused(
    slack: LocalSlack, client: AsyncWebClient
) -> None:
    assert "files:write" in (await client.auth_test()).headers["x-oauth-scopes"].split(",")
    with pytest.raises(SlackApiError) as refused:
        await client.files_getUploadURLExternal(filename="a.txt", length=0)
    assert refused.value.response["error"] == "missing_argument"
    slack.workspace.scopes -= {"files:write"}
    with pytest.raises(SlackApiError) as refused:
        await client.files_getUploadURLExternal(filename="a.txt", length=1)
    assert refused.value.response["error"] == "missing_scope"


async def test_a_long_history_comes_in_pages(slack: LocalSlack, client: AsyncWebClient) -> None:
    for number in range(450):
        slack.workspace.call("chat.postMessage", {"channel": "C1", "text": str(number)})
    seen = [
        message["text"]
        async for page in await client.conversations_history(channel="C1", limit=200)
        for message in page["messages"]
    ]
    assert seen == [str(number) for number in reversed(range(450))]


@pytest.mark.parametrize(
    ("blocks", "text", "code"),
    [
        ([{"type": "divider"}] * 51, "x", "invalid_blocks"),
        ([{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}], "x", "invalid_blocks"),
        ([{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}], "x", "invalid_blocks"),
        ([{"type": "nonsense"}], "x", "invalid_blocks"),
        ([], "x" * 40_001, "msg_too_long"),
        ([], "", "no_text"),
    ],
)
async def test_what_slack_refuses_is_refused(
    client: AsyncWebClient, blocks: list[object], text: str, code: str
) -> None:
    with pytest.raises(SlackApiError) as refused:
        await client.api_call("chat.postMessage", json={"channel": "C1", "text": text, "blocks": blocks})
    assert refused.value.response["error"] == code


async def test_a_missing_token_and_an_unknown_method_are_refused(slack: LocalSlack) -> None:
    for token, method, code in ((None, "auth.test", "invalid_auth"), ("xoxb-1", "no.such", "unknown_method")):
        nobody = AsyncWebClient(token=token, base_url=slack.api_url, trust_env_in_session=False)
        with pytest.raises(SlackApiError) as refused:
            await nobody.api_call(method)
        assert refused.value.response["error"] == code


async def test_slacks_client_sees_a_rate_limit_as_one(slack: LocalSlack, client: AsyncWebClient) -> None:
    slack.fail("chat.postMessage", Fault(kind="limit", retry_after=30))
    with pytest.raises(SlackApiError) as limited:
        await client.chat_postMessage(channel="C1", text="x")
    assert limited.value.response.status_code == 429
    assert limited.value.response.headers["retry-after"] == "30"


async def test_a_response_url_takes_five_messages_within_half_an_hour(slack: LocalSlack) -> None:
    webhook = AsyncWebhookClient(slack.response_url("C1", "U1"), trust_env_in_session=False)
    answers = [await webhook.send(text=str(number)) for number in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [404]
    assert answers[0].body == "ok"
    late = AsyncWebhookClient(slack.response_url("C1", "U1"), trust_env_in_session=False)
    clock = slack.workspace.clock
    assert isinstance(clock, ManualClock)
    clock.set_wall(clock.now() + timedelta(minutes=30))
    assert (await late.send(text="late")).status_code == 404


async def test_our_client_names_every_way_a_call_can_end(slack: LocalSlack, ours: SlackClient) -> None:
    message = {"channel": "C1", "text": "x"}
    faults = [
        (Fault(kind="limit", retry_after=30), Limited(retry_after_seconds=30.0)),
        (Fault(kind="status", status=503), Unsure(reason="HTTP 503")),
        (Fault(kind="status", status=302), Refused(code="redirect_refused")),
        (Fault(kind="status", status=404), Refused(code="http_404")),
        (Fault(kind="error", code="is_archived"), Refused(code="is_archived")),
        (Fault(kind="error", code="ratelimited"), Limited(retry_after_seconds=30.0)),
        (Fault(kind="error", code="fatal_error"), Unsure(reason="fatal_error")),
        (Fault(kind="error", code='<b>"x'), Refused(code="unknown_error")),
        (Fault(kind="drop"), Unsure(reason="RemoteProtocolError")),
        (Fault(kind="hang"), Unsure(reason="ReadTimeout")),
    ]
    for fault, expected in faults:
        slack.fail("chat.postMessage", fault)
        slack.fail(RESPONSE_URL, fault)
        assert await ours.call("chat.postMessage", message) == expected, fault
        assert await ours.respond(slack.response_url("C1", "U1"), message) == expected, fault
    assert isinstance(await ours.call("chat.postMessage", message), Done)
    assert await ours.respond(slack.response_url("C1", "U1"), message) == Done()


async def test_our_client_names_every_way_bytes_can_end(slack: LocalSlack, ours: SlackClient) -> None:
    faults = [
        (Fault(kind="limit", retry_after=30), Limited(retry_after_seconds=30.0)),
        (Fault(kind="status", status=503), Unsure(reason="HTTP 503")),
        (Fault(kind="status", status=302), Refused(code="redirect_refused")),
        (Fault(kind="status", status=404), Refused(code="http_404")),
        (Fault(kind="drop"), Unsure(reason="RemoteProtocolError")),
    ]
    place = await ours.submit("files.getUploadURLExternal", {"filename": "a.txt", "length": 3})
    assert isinstance(place, Done)
    for fault, expected in faults:
        slack.fail(UPLOAD, fault)
        assert await ours.upload(place.data["upload_url"], b"abc") == expected, fault
    assert await ours.upload(place.data["upload_url"], b"abc") == Done()
    assert await ours.upload("https://evil.example/", b"abc") == Refused(code="upload_url_refused")


async def test_our_client_says_what_the_token_may_do(slack: LocalSlack, ours: SlackClient) -> None:
    slack.workspace.scopes = frozenset({"chat:write", "files:write"})
    known = await ours.read("auth.test", {})
    assert isinstance(known, Done)
    assert known.scopes == frozenset({"chat:write", "files:write"})


async def test_a_call_that_cannot_leave_says_so() -> None:
    async with SlackClient("xoxb-1", api_url="http://127.0.0.1:9/api/") as client:
        assert await client.call("auth.test", {}) == NotSent(reason="ConnectError")


async def test_without_a_token_nothing_leaves(slack: LocalSlack) -> None:
    async with SlackClient(None, api_url=slack.api_url) as client:
        assert await client.call("auth.test", {}) == Refused(code="not_authed")
    assert slack.calls == []
