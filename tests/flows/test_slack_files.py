"""What an agent draws is seen in Slack, where its answer stands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callboard.integrations.slack_local import Fault, LocalSlack
from callboard.integrations.slack_local_workspace import LocalMessage
from callboard.integrations.slack_simulator import SlackSimulator
from callboard.integrations.slack_wire import Channel
from tests.support.embedded_process import Premises, running
from tests.support.slack_app import SECRET
from tests.support.system import Callboard, callboard_at
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

PAINTER = """
name: painter
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - call: {tool: chart, args: {kind: bar, title: Sold, x: [mon, tue], series: [{name: sold, values: [3, 5]}]}}
      say: "Here it is: {result}"
tools: [chart]
subscriptions: [slack.events.message.im]
slack: {mentions: true, commands: [/paint], reply: REPLY}
"""
PNG = b"\x89PNG\r\n\x1a\n"
SHOW = "files.completeUploadExternal"
FILES = ["Sold.png", "Sold.json"]


@pytest.fixture
async def callboard(tmp_path: Path) -> AsyncIterator[Callboard]:
    async with callboard_at(tmp_path) as running:
        yield running


def with_files(slack: LocalSlack) -> list[LocalMessage]:
    return [message for message in slack.messages if message.files]


def names(slack: LocalSlack) -> list[str]:
    return [file.name for message in with_files(slack) for file in message.files]


async def settled(callboard: Callboard) -> list[tuple[str, str, Any]]:
    """Kind, status and error of all that the only run owes to Slack, once nothing of it is open."""
    [run] = await callboard.runs_of("painter")

    async def of_the_run() -> list[tuple[str, str, Any]] | None:
        owed = (await callboard.get(f"runs/{run['task_id']}"))["deliveries"]
        ended = all(each["status"] in ("sent", "failed", "unknown") for each in owed)
        return sorted(((each["kind"], each["status"], each["error"]) for each in owed), key=_order) if ended else None

    found: list[tuple[str, str, Any]] | None = await wait_until(of_the_run, "nothing is owed any more", within=30.0)
    assert found is not None
    return found


def _order(owed: tuple[str, str, Any]) -> int:
    return ("result", "file", "notice").index(owed[0])


async def test_a_chart_that_a_command_asked_for_comes_into_the_channel(callboard: Callboard) -> None:
    await callboard.write("painter", PAINTER.replace("REPLY", "channel"))
    async with callboard.person() as anna:
        answer = await anna.answer_to(await anna.command("/paint"))
        await anna.following(answer)
    assert answer.via == "response_url"
    assert [(m.channel, m.thread_ts) for m in with_files(callboard.slack)] == [("C0GENERAL", None)] * 2


async def test_a_chart_comes_into_a_direct_message(callboard: Callboard) -> None:
    await callboard.write("painter", PAINTER.replace("REPLY", "thread"))
    async with callboard.person(channel=Channel(id="D0ANNA", name="directmessage", type="im")) as anna:
        sent = await anna.message("draw it")
        await anna.following(await anna.answer_to(sent))
    assert [(m.channel, m.thread_ts) for m in with_files(callboard.slack)] == [("D0ANNA", sent.ts)] * 2


async def test_an_answer_that_one_person_sees_says_how_to_fetch_its_files(callboard: Callboard) -> None:
    await callboard.write("painter", PAINTER.replace("REPLY", "ephemeral"))
    async with callboard.person() as anna:
        answer = await anna.answer_to(await anna.command("/paint"))
        assert answer.visible_to == "U0ANNA"
        [run] = await callboard.runs_of("painter")
        kept = (await callboard.get(f"runs/{run['task_id']}/artifacts"))["artifacts"]
        for artifact in kept:
            assert (
                f"{artifact['name']}: `callboard artifacts get {artifact['id']} -f {artifact['name']}`" in answer.shown
            )
    # What follows an answer is planned in the transaction that writes that it was sent.
    assert await settled(callboard) == [("result", "sent", None)]
    assert names(callboard.slack) == []
    assert callboard.slack.calls_of(SHOW) == []


async def test_B1_a_chart_that_slack_limits_comes_late_and_once(callboard: Callboard) -> None:
    await callboard.write("painter", PAINTER.replace("REPLY", "thread"))
    callboard.slack.fail("files.getUploadURLExternal", Fault(kind="limit", retry_after=2))
    callboard.slack.fail(SHOW, Fault(kind="limit", retry_after=2))
    async with callboard.person() as anna:
        await anna.following(await anna.answer_to(await anna.mention("painter draw it")))
    assert names(callboard.slack) == FILES
    refused, again, *_ = callboard.slack.calls_of(SHOW)
    assert (again.at - refused.at).total_seconds() >= 2


async def test_B5_where_files_are_refused_the_answer_stands_and_the_way_to_them_is_told(callboard: Callboard) -> None:
    await callboard.write("painter", PAINTER.replace("REPLY", "thread"))
    callboard.slack.workspace.scopes -= {"files:write"}
    async with callboard.person() as anna:
        answer = await anna.answer_to(await anna.mention("painter draw it"))
        apologies = await anna.following(answer)
    assert [message.thread_ts for message in apologies] == [answer.thread_ts] * 2
    for name, message in zip(FILES, apologies, strict=True):
        assert message.text.startswith(f"{name} could not be put here: the Slack app lacks the scope files:write")
    told = [(kind, status, (error or {}).get("message")) for kind, status, error in await settled(callboard)]
    assert told == [
        ("result", "sent", None),
        *[("file", "failed", "missing_scope")] * 2,
        *[("notice", "sent", None)] * 2,
    ]


@pytest.mark.parametrize("place", ["responder.sent", "responder.file_known", "responder.file_shared"])
async def test_a_kill_between_any_two_steps_shows_every_file_once(tmp_path: Path, place: str) -> None:
    async with LocalSlack() as slack:
        premises = Premises(tmp_path, {"SLACK_API_URL": slack.api_url})
        premises.add_agents(painter=PAINTER.replace("REPLY", "thread"))
        async with running(premises, CALLBOARD_FAILPOINT=place) as first:
            async with SlackSimulator(slack, gateway_url=first.url, signing_secret=SECRET) as anna:
                sent = await anna.mention("painter draw it")
            assert await first.exit_code() == -9, first.told
        async with running(premises) as second:
            await wait_until(lambda: len(names(slack)) == 2, f"both files\n{second.told}", within=60.0)
            owed = "SELECT count(*) AS open FROM deliveries WHERE status NOT IN ('sent')"
            await wait_until(lambda: premises.rows(owed)[0]["open"] == 0, "nothing is owed any more", within=30.0)
    assert names(slack) == FILES
    assert [message.thread_ts for message in slack.messages] == [sent.ts] * 3
