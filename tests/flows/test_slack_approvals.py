"""An approval in Slack: which call it is, who decides about it, and how every message says what became of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callboard.errors import ConflictError, NotFoundError
from callboard.integrations.slack_local import Fault
from callboard.integrations.slack_local_workspace import LocalMessage
from callboard.integrations.slack_user_groups import CACHE_SECONDS
from callboard.messaging.events import Actor
from callboard.state.clarifications import Answer, ClarificationKind, ClarificationStatus
from tests.support.slack_room import ANNA, BERT, QUESTION, Room, room_in

MAIL = {"to": "all@example.org", "subject": "Hi", "copies": 2, "urgent": False, "on": "2026-12-01", "tags": ["a"]}
SCHEMA = {
    "type": "object",
    "properties": {
        "to": {"type": "string", "title": "To", "description": "An address", "maxLength": 100},
        "subject": {"type": "string"},
        "copies": {"type": "integer", "minimum": 1},
        "urgent": {"type": "boolean"},
        "on": {"type": "string", "format": "date"},
        "tone": {"enum": ["kind", "short"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["to", "copies"],
}


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with room_in(tmp_path) as opened:
        yield opened


async def approval(room: Room, *, arguments: dict[str, Any] | None = None, **rules: Any) -> LocalMessage:
    details = {"tool": "send_email", "arguments": MAIL if arguments is None else arguments, "why": "approval: ask"}
    return await room.ask(
        ClarificationKind.CONFIRMATION,
        **{"purpose": "approval", "question": "May I send this?", "details": details, "schema": SCHEMA, **rules},
    )


async def by_the_api(room: Room, answer: Any) -> None:
    actor = Actor(kind="api", id="token", via="http")
    await room.world.store.answer(
        Answer(answer=answer, now=room.clock.now(), actor=actor, clarification_id=QUESTION, answered_by="mia")
    )


async def test_an_approval_shows_the_tool_its_arguments_and_who_may_answer_until_when(room: Room) -> None:
    deadline = room.clock.now() + timedelta(hours=1)
    message = await approval(room, may_answer=("U0ANNA", "S0OPS"), deadline=deadline)
    assert [button["text"]["text"] for button in message.buttons] == ["Approve", "Edit…", "Reject…"]
    assert "May I send this?" in message.shown
    assert "Tool *send_email*" in message.shown
    assert '"to": "all@example.org"' in message.shown
    assert "May answer: U0ANNA, members of S0OPS" in message.shown
    assert f"Until {deadline:%Y-%m-%d %H:%M} UTC" in message.shown


async def test_approve_is_one_click(room: Room) -> None:
    message = await approval(room)
    assert (await room.world.simulator.click(message, "Approve")).body == ""
    assert await room.answer() is True
    await room.send()
    assert "Approved by anna (" in room.shown(message).shown
    assert room.shown(message).buttons == []


async def test_reject_asks_for_a_reason_that_may_be_left_out(room: Room) -> None:
    message = await approval(room)
    await room.world.simulator.click(message, "Reject…")
    assert await room.answer() is ClarificationStatus.ASKED
    assert room.world.slack.workspace.views[-1]["blocks"][-1]["optional"] is True
    await room.world.simulator.submit("Not to everybody.")
    assert await room.answer() == {"approved": False, "reason": "Not to everybody."}
    await room.send()
    assert "Rejected by anna: Not to everybody." in room.shown(message).shown


async def test_reject_without_a_reason_is_a_plain_no(room: Room) -> None:
    message = await approval(room)
    await room.world.simulator.click(message, "Reject…")
    await room.world.simulator.submit("  ")
    assert await room.answer() is False


async def test_edit_opens_a_field_an_argument_and_the_changed_ones_are_approved(room: Room) -> None:
    message = await approval(room)
    await room.world.simulator.click(message, "Edit…")
    form = room.world.slack.workspace.views[-1]
    fields = {block["label"]["text"]: block for block in form["blocks"] if block["type"] == "input"}
    kinds = {label: block["element"]["type"] for label, block in fields.items()}
    assert kinds == {
        "To": "plain_text_input",
        "subject": "plain_text_input",
        "copies": "number_input",
        "urgent": "static_select",
        "on": "datepicker",
        "tone": "static_select",
        "tags (JSON)": "plain_text_input",
    }
    assert [label for label, block in fields.items() if not block["optional"]] == ["To", "copies"]
    assert fields["To"]["hint"]["text"] == "An address"
    sent = await room.world.simulator.fill(
        {"To": "me@example.org", "copies": "1", "urgent": "Yes", "tone": "kind", "subject": "", "tags (JSON)": "[]"}
    )
    assert (sent.status, sent.body) == (200, "")
    changed = {"to": "me@example.org", "copies": 1, "urgent": True, "on": "2026-12-01", "tone": "kind", "tags": []}
    assert await room.answer() == {"approved": True, "arguments": changed}
    await room.send()
    after = room.shown(message).shown
    assert "Approved with the arguments above by anna" in after
    assert "me@example.org" in after
    assert "all@example.org" not in after


async def test_a_form_sent_as_it_was_approves_what_was_asked(room: Room) -> None:
    message = await approval(room)
    await room.world.simulator.click(message, "Edit…")
    await room.world.simulator.fill({})
    assert await room.answer() is True


@pytest.mark.parametrize(
    ("entered", "field", "said"),
    [
        ({"copies": "many"}, "copies", "not a whole number"),
        ({"copies": "0"}, "copies", "less than the minimum"),
        ({"copies": "9" * 40}, "copies", "64 bits"),
        ({"tags (JSON)": "[1"}, "tags (JSON)", "not JSON"),
        ({"tags (JSON)": "[1]"}, "tags (JSON)", "not of type 'string'"),
        ({"To": ""}, "To", "required property"),
    ],
)
async def test_what_is_wrong_is_said_at_its_field_and_the_form_stays(
    room: Room, entered: dict[str, str], field: str, said: str
) -> None:
    message = await approval(room)
    await room.world.simulator.click(message, "Edit…")
    form = room.world.slack.workspace.views[-1]
    sent = await room.world.simulator.fill(entered)
    reply = json.loads(sent.body)
    assert reply["response_action"] == "errors"
    ((block_id, problem),) = reply["errors"].items()
    labels = {block["block_id"]: block["label"]["text"] for block in form["blocks"] if block["type"] == "input"}
    assert (labels[block_id], said in problem) == (field, True), problem
    assert await room.answer() is ClarificationStatus.ASKED
    await room.world.simulator.fill({"To": "me@example.org"})
    assert await room.answer() == {"approved": True, "arguments": {**MAIL, "to": "me@example.org"}}


async def test_arguments_without_a_schema_are_edited_as_json(room: Room) -> None:
    message = await approval(room, schema=None)
    await room.world.simulator.click(message, "Edit…")
    assert '"errors"' in (await room.world.simulator.fill({"Arguments (JSON)": "[]"})).body
    assert '"errors"' in (await room.world.simulator.fill({"Arguments (JSON)": "{"})).body
    await room.world.simulator.fill({"Arguments (JSON)": '{"to": "x"}'})
    assert await room.answer() == {"approved": True, "arguments": {"to": "x"}}


async def test_arguments_too_long_for_a_form_are_shown_in_part_and_said_so(room: Room) -> None:
    message = await approval(room, arguments={"to": "x" * 5000}, schema=None)
    assert "more characters are not shown here" in message.shown
    assert f"callboard clarifications show {QUESTION}" in message.shown
    await room.world.simulator.click(message, "Edit…")
    await room.send()
    assert "too long to be edited here" in room.told(ANNA)[0]
    assert room.world.slack.workspace.views == []


async def test_B4_arguments_ping_nobody_and_leave_their_block_of_code_never(room: Room) -> None:
    hostile = {"text": "```\n<!channel> <@U1> *bold* \u202e\x1b[31m", "more": "``` <https://evil.example|ok>"}
    message = await approval(room, arguments=hostile)
    block = next(block for block in message.blocks if "&lt;!channel&gt;" in str(block))
    text = block["text"]["text"]
    assert text.count("```") == 2
    assert text.startswith("```")
    assert text.endswith("```")
    assert "<" not in text
    assert "\u202e" not in message.shown


async def test_G7_a_wrong_person_is_told_alone_and_nothing_changes(room: Room) -> None:
    message = await approval(room, may_answer=("U0ANNA",))
    for label in ("Approve", "Edit…", "Reject…"):
        assert (await room.world.simulator.click(message, label, person=BERT)).status == 200
    await room.send()
    assert len(room.told(BERT)) == 3
    assert all("for U0ANNA to answer" in line for line in room.told(BERT))
    assert room.world.slack.workspace.views == []
    assert await room.answer() is ClarificationStatus.ASKED
    assert len(room.shown(message).buttons) == 3


async def test_G7_a_form_sent_by_a_wrong_person_is_refused_in_the_form(room: Room) -> None:
    message = await approval(room, may_answer=("U0ANNA",))
    await room.world.simulator.click(message, "Edit…")
    sent = await room.world.simulator.fill({"To": "me@example.org"}, person=BERT)
    assert "for U0ANNA to answer" in sent.body
    assert await room.answer() is ClarificationStatus.ASKED


async def test_G7_whoever_asked_for_the_run_does_not_approve_it(room: Room) -> None:
    message = await approval(room, not_requester=True)
    await room.world.simulator.click(message, "Approve", person=ANNA)
    await room.send()
    assert "everybody but not U0ANNA" in room.told(ANNA)[0]
    await room.world.simulator.click(message, "Approve", person=BERT)
    assert await room.answer() is True


async def test_a_member_of_the_group_may_answer_and_nobody_else(room: Room) -> None:
    room.world.slack.workspace.groups["S0OPS"] = [BERT.id]
    message = await approval(room, may_answer=("S0OPS",))
    await room.world.simulator.click(message, "Approve", person=ANNA)
    await room.send()
    assert "members of S0OPS" in room.told(ANNA)[0]
    await room.world.simulator.click(message, "Approve", person=BERT)
    assert await room.answer() is True
    assert len(room.world.slack.calls_of("usergroups.users.list")) == 1


@pytest.mark.parametrize(
    "fault", [Fault(kind="status"), Fault(kind="error", code="missing_scope"), Fault(kind="limit")]
)
async def test_a_group_that_slack_does_not_tell_of_lets_nobody_in(room: Room, fault: Fault) -> None:
    room.world.slack.workspace.groups["S0OPS"] = [BERT.id]
    message = await approval(room, may_answer=("S0OPS",))
    room.world.slack.fail("usergroups.users.list", fault)
    await room.world.simulator.click(message, "Approve", person=BERT)
    await room.send()
    assert "does not say right now who is in S0OPS" in room.told(BERT)[0]
    assert await room.answer() is ClarificationStatus.ASKED
    await room.world.simulator.click(message, "Approve", person=BERT)
    assert await room.answer() is True


async def test_who_left_the_group_is_out_after_five_minutes(room: Room) -> None:
    room.world.slack.workspace.groups["S0OPS"] = [BERT.id]
    message = await approval(room, may_answer=("S0OPS",))
    await room.world.simulator.click(message, "Edit…", person=BERT)
    room.world.slack.workspace.groups["S0OPS"] = []
    await room.clock.advance(CACHE_SECONDS)
    sent = await room.world.simulator.fill({"To": "me@example.org"}, person=BERT)
    assert "members of S0OPS" in sent.body
    assert await room.answer() is ClarificationStatus.ASKED


async def test_every_message_of_a_question_says_how_it_ended_wherever_it_was_answered(room: Room) -> None:
    deadline = room.clock.now() + timedelta(hours=1)
    rules: dict[str, Any] = {
        "deadline": deadline,
        "on_deadline": "escalate",
        "escalate_to": "#ops",
        "remind_seconds": 1800.0,
    }
    first = await approval(room, **rules)
    for _ in range(2):
        await room.clock.advance(1800)
        await room.world.store.sweep_questions()
        await room.send()
    shown = [message for message in room.world.slack.messages if message.visible_to is None]
    assert [message.channel for message in shown] == [first.channel, first.channel, "C_OPS"]
    assert "Reminder 1 of 10" in shown[1].shown
    assert "Nobody answered this in time, so it is asked here." in shown[2].shown
    assert all(len(message.buttons) == 3 for message in shown)
    await by_the_api(room, True)
    await room.send()
    for message in shown:
        assert room.shown(message).buttons == []
        assert "Approved by mia (" in room.shown(message).shown


async def test_a_click_on_the_escalated_copy_closes_the_first_message_too(room: Room) -> None:
    deadline = room.clock.now() + timedelta(hours=1)
    first = await approval(room, deadline=deadline, on_deadline="escalate", escalate_to="#ops")
    await room.clock.advance(3600)
    await room.world.store.sweep_questions()
    await room.send()
    copy = room.world.slack.messages[-1]
    await room.world.simulator.click(copy, "Approve", person=BERT)
    await room.send()
    for message in (first, copy):
        assert room.shown(message).buttons == []
        assert "Approved by bert" in room.shown(message).shown


async def test_G7_a_question_that_expired_or_was_cancelled_loses_its_buttons(room: Room) -> None:
    message = await approval(room, deadline=room.clock.now() + timedelta(hours=1))
    await room.clock.advance(3600)
    await room.world.store.sweep_questions()
    await room.send()
    assert "Nobody answered in time." in room.shown(message).shown
    with pytest.raises(NotFoundError, match="its buttons: none"):
        await room.world.simulator.click(room.shown(message), "Approve")
    await room.world.simulator.click(message, "Approve")  # in a client that has not seen the edit
    await room.send()
    assert "nobody waits for its answer" in room.told(ANNA)[0]


async def test_a_question_with_a_schema_is_filled_in(room: Room) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "nights": {"type": "integer"}}}
    message = await room.ask(ClarificationKind.INPUT, schema={**schema, "required": ["nights"]})
    await room.world.simulator.click(message, "Fill in…")
    assert "'nights' is a required" in (await room.world.simulator.fill({"city": "Rome"})).body
    await room.world.simulator.fill({"city": "Rome", "nights": "2"})
    assert await room.answer() == {"city": "Rome", "nights": 2}
    await room.send()
    assert "Answered by anna" in room.shown(message).shown


async def test_a_schema_of_no_object_is_answered_as_json(room: Room) -> None:
    message = await room.ask(ClarificationKind.INPUT, schema={"type": "array", "items": {"type": "integer"}})
    await room.world.simulator.click(message, "Answer…")
    assert "not of type 'integer'" in (await room.world.simulator.submit('["x"]')).body
    await room.world.simulator.submit("[1, 2]")
    assert await room.answer() == [1, 2]


async def test_G7_after_thirty_days_the_buttons_still_work(room: Room) -> None:
    message = await approval(room, remind_seconds=86_400.0)
    for _ in range(31):
        await room.clock.advance(86_400)
        await room.world.store.sweep_questions()
        await room.send()
    reminders = [each for each in room.world.slack.messages if "Reminder" in each.shown]
    assert len(reminders) == 10
    assert (await room.world.simulator.click(message, "Approve")).status == 200
    assert await room.answer() is True
    for _ in range(5):
        await room.send()
    for shown in (message, *reminders):
        assert room.shown(shown).buttons == []
        assert "Approved by anna" in room.shown(shown).shown


async def test_G7_a_click_and_an_answer_over_http_at_once_are_one_decision(room: Room) -> None:
    message = await approval(room)
    clicked, given = await asyncio.gather(
        room.world.simulator.click(message, "Approve"), by_the_api(room, False), return_exceptions=True
    )
    assert not isinstance(clicked, BaseException)
    await room.send()
    if isinstance(given, ConflictError):
        assert (await room.answer(), "anna answered 'yes'" in given.message) == (True, True)
    else:
        assert await room.answer() is False
        assert "mia answered 'no'" in room.told(ANNA)[0]
    words = "Approved by anna" if isinstance(given, ConflictError) else "Rejected by mia"
    assert words in room.shown(message).shown
