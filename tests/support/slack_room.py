"""A world of Slack's with a run in it that asks, and a responder that sends what is owed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callboard.clock import ManualClock
from callboard.integrations.slack_content import DeliveryContent
from callboard.integrations.slack_local_workspace import LocalMessage
from callboard.integrations.slack_responder import SlackResponder
from callboard.integrations.slack_wire import Person
from callboard.messaging.reply import ReplyTo
from callboard.state.clarifications import ClarificationKind, ClarificationStatus, QuestionDraft
from callboard.state.finishing import Settlement, StoredEvent
from callboard.state.process_store import ProcessStore
from callboard.state.routing import Routing
from callboard.state.runs import ClaimRequest, RunResult, RunStatus, WaitingKind
from tests.support.plain_run import plain_run
from tests.support.slack_world import GiveAnswer, Silence, World, slack_world

ANNA, BERT = Person(), Person(id="U0BERT", name="bert")
QUESTION = "c" * 32


@dataclass(frozen=True, slots=True)
class Room:
    """A world with a responder that sends questions."""

    world: World
    responder: SlackResponder
    clock: ManualClock

    async def ask(self, kind: ClarificationKind, options: tuple[str, ...] = (), **rules: Any) -> LocalMessage:
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
        asked = {"id": QUESTION, "key": "1", "kind": kind, "question": "Which city?", "options": options}
        question = QuestionDraft(**{**asked, **rules})
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

    def shown(self, message: LocalMessage) -> LocalMessage:
        """The message as it is now."""
        return self.world.slack.workspace.find(message.channel, message.ts)

    def told(self, person: Person) -> list[str]:
        """The lines that only this person sees."""
        return [message.text for message in self.world.slack.messages if message.visible_to == person.id]

    async def answer(self) -> object:
        found = await self.world.store.clarification(QUESTION)
        assert found is not None
        return found.answer if found.status is ClarificationStatus.ANSWERED else found.status


def run_for(item: StoredEvent) -> Routing:
    """One run for a command; nothing for clicks and forms."""
    event = item.event
    if not event.topic.startswith("slack.events.command"):
        return Routing()
    reply_to = ReplyTo.from_slack(event.payload, "thread", event.timestamp)
    draft = plain_run(event, "planner", input="a trip", max_attempts=3, timeout_seconds=300.0, reply_to=reply_to)
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
