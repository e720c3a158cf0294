"""A question is asked in Slack and answered there: the first answer counts, and everybody sees whose it was."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from callboard.clock import ManualClock
from callboard.errors import UnavailableError
from callboard.ids import derive_id
from callboard.integrations.slack_content import DeliveryContent
from callboard.integrations.slack_local import Fault
from callboard.integrations.slack_local_workspace import LocalMessage
from callboard.integrations.slack_responder import SlackResponder
from callboard.integrations.slack_wire import Person, button_click
from callboard.messaging.reply import ReplyTo
from callboard.state.clarifications import Answer, ClarificationKind, ClarificationStatus, QuestionDraft
from callboard.state.finishing import Settlement, StoredEvent
from callboard.state.process_store import ProcessStore
from callboard.state.routing import Routing
from callboard.state.runs import Admission, ClaimRequest, Lane, RunDraft, RunResult, RunStatus, WaitingKind
from tests.support.slack_world import GiveAnswer, Silence, World, slack_world

ANNA, BERT = Person(), Person(id="U0BERT", name="bert")
QUESTION = "c" * 32


@dataclass(frozen=True, slots=True)
class Room:
    """A world with a responder that sends questions."""

    world: World
    responder: SlackResponder
    clock: ManualClock

    async def ask(self, kind: ClarificationKind, options: tuple[str, ...] = ()) -> LocalMessage:
        """A run asks; returns the message with the question."""
        store = self.world.store
        assert (await self.world.simulator.command("/plan a trip")).status == 200
        await store.route(run_for)
        await ProcessStore(self.world.database, Silence(), self.clock).register("p" * 32, "pool", "here", 1)
        request = ClaimRequest(
            mode="autonomous",
            process_id="p" * 32,
            token="t" * 32,
            slots=1,
            batch_slots=0,
            suspect=False,
            now=self.clock.now(),
        )
        claimed = (await store.claim(request))[0].run
        question = QuestionDraft(id=QUESTION, key="1", kind=kind, question="Which city?", options=options)
        await store.settle(
            Settlement(
                run_id=claimed.run_id,
                fencing=claimed.fencing,
                status=RunStatus.WAITING,
                now=self.clock.now(),
                waiting_kind=WaitingKind.CLARIFICATION,
                question=question,
            )
        )
        await self.send()
        return self.world.slack.messages[-1]

    async def send(self) -> None:
        """Everything that is owed to people, at Slack's pace."""
        for _ in range(4):
            while await self.responder.work_once():
                pass
            await self.clock.advance(1)

    async def answer(self) -> object:
        found = await self.world.store.clarification(QUESTION)
        assert found is not None
        return found.answer if found.status is ClarificationStatus.ANSWERED else found.status


def run_for(item: StoredEvent) -> Routing:
    """One run for a command; nothing for clicks and forms."""
    event = item.event
    if not event.topic.startswith("slack.events.command"):
        return Routing()
    draft = RunDraft(
        run_id=derive_id("run", event.event_id, "planner"),
        event_id=event.event_id,
        trace_id=event.trace_id,
        tenant="default",
        agent="planner",
        agent_version=1,
        catalog=1,
        mode="autonomous",
        admission=Admission(lane=Lane.INTERACTIVE, rank=2),
        max_attempts=3,
        timeout_seconds=300.0,
        actor=event.actor,
        input="a trip",
        reply_to=ReplyTo.from_slack(event.payload, "thread", event.timestamp),
    )
    return Routing(runs=(draft,))


@contextlib.asynccontextmanager
async def room_in(folder: Path, answer: GiveAnswer | None = None) -> AsyncIterator[Room]:
    clock = ManualClock()
    async with slack_world(folder, clock=clock, answer=answer) as world:

        async def no_run(run_id: str) -> RunResult | None:
            return None

        content = DeliveryContent(result=no_run, clarification=world.store.clarification)
        responder = SlackResponder(world.deliveries, world.client, content.load, clock, "one")
        yield Room(world, responder, clock)


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
    assert f"{winner.name} answered {answer!r}" in told[0].text
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
