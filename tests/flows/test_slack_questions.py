"""A question is asked in Slack and answered there: the first answer counts, and everybody sees whose it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from callboard.errors import UnavailableError
from callboard.integrations.slack_local import Fault
from callboard.integrations.slack_wire import button_click
from callboard.state.clarifications import Answer, ClarificationKind, ClarificationStatus
from callboard.state.models import deliveries
from tests.support.slack_room import ANNA, BERT, QUESTION, Room, room_in


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with room_in(tmp_path) as opened:
        yield opened


async def test_a_click_answers_and_the_buttons_give_way_to_who_answered_what(room: Room) -> None:
    message = await room.ask(ClarificationKind.CHOICE, ("Berlin", "Paris"))
    assert [button["text"]["text"] for button in message.buttons] == ["Berlin", "Paris"]
    clicked = await room.world.simulator.click(message, "Paris")
    assert (clicked.status, clicked.body) == (200, "")
    assert await room.answer() == "Paris"
    await room.send()
    after = room.world.slack.workspace.find(message.channel, message.ts)
    assert after.buttons == []
    assert "Which city?\nAnswered by anna: Paris" in after.shown
    owed = await room.world.database.read(lambda db: db.execute(select(deliveries.c.kind, deliveries.c.status)).all())
    # The message came by a response URL: the click closed it in its way, and the channel's history knows it by that.
    assert {tuple(row) for row in owed} == {("question", "sent"), ("answered", "sent")}


@pytest.mark.parametrize(("label", "answer"), [("Yes", True), ("No", False)])
async def test_a_confirmation_is_answered_with_yes_or_no(room: Room, label: str, answer: bool) -> None:
    message = await room.ask(ClarificationKind.CONFIRMATION)
    await room.world.simulator.click(message, label)
    assert await room.answer() is answer


async def test_an_action_is_answered_with_done(room: Room) -> None:
    message = await room.ask(ClarificationKind.ACTION)
    await room.world.simulator.click(message, "Done")
    assert await room.answer() == {"done": True}


async def test_A5_of_two_people_who_click_at_once_one_wins_and_the_other_is_told(room: Room) -> None:
    message = await room.ask(ClarificationKind.CONFIRMATION)
    simulator = room.world.simulator
    clicks = await asyncio.gather(
        simulator.click(message, "Yes", person=ANNA), simulator.click(message, "No", person=BERT)
    )
    assert [click.status for click in clicks] == [200, 200]
    answer = await room.answer()
    winner, loser = (ANNA, BERT) if answer is True else (BERT, ANNA)
    await room.send()
    told = [m for m in room.world.slack.messages if m.visible_to is not None]
    assert [m.visible_to for m in told] == [loser.id]
    assert f"{winner.name} answered '{'yes' if answer else 'no'}'" in told[0].text
    assert "first answer counts" in told[0].text


async def test_A5_A7_the_same_click_delivered_twice_answers_once_and_tells_nobody(room: Room) -> None:
    message = await room.ask(ClarificationKind.CHOICE, ("Berlin", "Paris"))
    request = button_click(
        message,
        message.buttons[0],
        person=ANNA,
        response_url=room.world.slack.response_url("C1", "U1"),
        trigger_id="t7",
    )
    replies = [await room.world.simulator.post(request) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200] * 3
    await room.send()
    assert [m for m in room.world.slack.messages if m.visible_to is not None] == []
    assert await room.answer() == "Berlin"


async def test_a_text_is_asked_for_in_a_form_and_the_form_answers(room: Room) -> None:
    message = await room.ask(ClarificationKind.INPUT)
    await room.world.simulator.click(message, "Answer…")
    form = room.world.slack.workspace.views[-1]
    assert "Which city?" in str(form["blocks"])
    assert await room.answer() is ClarificationStatus.ASKED
    submitted = await room.world.simulator.submit("Rome")
    assert (submitted.status, submitted.body) == (200, "")
    assert await room.answer() == "Rome"
    await room.send()
    assert "Answered by anna: Rome" in room.world.slack.workspace.find(message.channel, message.ts).shown


async def test_a_form_that_comes_too_late_says_who_was_first(room: Room) -> None:
    message = await room.ask(ClarificationKind.INPUT)
    await room.world.simulator.click(message, "Answer…")
    assert (await room.world.simulator.submit("Rome")).body == ""
    late = await room.world.simulator.submit("Oslo")
    assert late.status == 200
    assert "anna answered 'Rome'" in late.body
    assert '"response_action":"errors"' in late.body.replace(" ", "")


async def test_when_the_form_cannot_be_opened_the_person_is_told_another_way(room: Room) -> None:
    message = await room.ask(ClarificationKind.INPUT)
    room.world.slack.fail("views.open", Fault(kind="error", code="expired_trigger_id"))
    assert (await room.world.simulator.click(message, "Answer…")).status == 200
    await room.send()
    told = room.world.slack.messages[-1]
    assert told.visible_to == ANNA.id
    assert f"clarifications answer {QUESTION}" in told.text


async def test_an_answer_of_the_wrong_kind_is_refused_and_said(room: Room) -> None:
    message = await room.ask(ClarificationKind.CHOICE, ("Berlin", "Paris"))
    forged = {**message.buttons[0], "value": message.buttons[0]["value"].replace("Berlin", "Oslo")}
    request = button_click(
        message, forged, person=ANNA, response_url=room.world.slack.response_url("C1", ANNA.id), trigger_id="t8"
    )
    assert (await room.world.simulator.post(request)).status_code == 200
    await room.send()
    assert "one of Berlin, Paris" in room.world.slack.messages[-1].text
    assert await room.answer() is ClarificationStatus.ASKED


async def test_an_answer_that_cannot_be_recorded_is_not_pretended_to_be(tmp_path: Path) -> None:
    async def away(given: Answer) -> object:
        raise UnavailableError("the database cannot be reached")

    async with room_in(tmp_path, answer=away) as room:
        message = await room.ask(ClarificationKind.CONFIRMATION)
        assert (await room.world.simulator.click(message, "Yes")).status == 200
        assert "try again" in room.world.slack.messages[-1].text
        assert await room.answer() is ClarificationStatus.ASKED
