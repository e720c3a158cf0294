"""What a person types in the simulator comes back as an answer, over a real gateway, ledger and Web API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard.clock import SystemClock
from callboard.errors import InvalidInputError, NotFoundError, UnavailableError
from callboard.ids import derive_id
from callboard.integrations.slack_blocks import Content
from callboard.integrations.slack_content import notice_content
from callboard.integrations.slack_local import LocalSlack
from callboard.integrations.slack_responder import SlackResponder
from callboard.integrations.slack_simulator import simulate
from callboard.lifecycle import StopSignal
from callboard.messaging.reply import ReplyTo
from callboard.state.accepting import Accepted, EventDraft
from callboard.state.deliveries import Delivery, DeliveryDraft
from tests.support.slack_app import SECRET
from tests.support.slack_world import World, slack_world


@contextlib.asynccontextmanager
async def echoing(folder: Path) -> AsyncIterator[World]:
    """A system that says back what it was told."""
    plans: list[World] = []

    async def accept(draft: EventDraft) -> Accepted:
        world, event = plans[0], draft.event
        accepted = await world.store.accept_event(draft)
        target = ReplyTo.from_slack(event.payload, "thread", event.timestamp)
        answer = DeliveryDraft(
            id=derive_id("echo", event.event_id),
            kind="notice",
            target=target,
            trace_id=event.trace_id,
            body={"text": f"you said: {event.payload['text']}"},
        )
        await world.deliveries.plan([answer])
        return accepted

    async def content(delivery: Delivery) -> Content:
        return notice_content(delivery)

    clock = SystemClock()
    async with slack_world(folder, accept=accept) as world:
        plans.append(world)
        responder = SlackResponder(world.deliveries, world.client, content, clock, "one", poll_seconds=0.02)
        stop = StopSignal(clock)
        running = asyncio.create_task(responder.run(stop))
        try:
            yield world
        finally:
            stop.ask(clock.monotonic() + 5)
            await running


@pytest.mark.parametrize("line", ["/standup hello", "@callboard hello", "hello"])
async def test_a_line_is_acknowledged_and_answered(tmp_path: Path, line: str) -> None:
    async with echoing(tmp_path) as world:
        sent, (answer,) = await simulate(line, slack=world.slack, gateway_url=world.url, signing_secret=SECRET)
        assert sent.accepted
        assert answer.text == "you said: hello"
        assert answer.shown.startswith("you said: hello\nCallboard · trace `")


async def test_two_people_get_their_own_answers(tmp_path: Path) -> None:
    async with echoing(tmp_path) as world:
        lines = [f"/standup {number}" for number in range(8)]
        sent = await asyncio.gather(*(world.simulator.command(line) for line in lines))
        answers = await asyncio.gather(*(world.simulator.answer_to(item) for item in sent))
        assert [answer.text for answer in answers] == [f"you said: {number}" for number in range(8)]


async def test_a_wrong_secret_is_shown_as_the_refusal_it_is(tmp_path: Path) -> None:
    async with echoing(tmp_path) as world:
        sent, messages = await simulate("/x", slack=world.slack, gateway_url=world.url, signing_secret="wrong")
        assert (sent.status, messages) == (401, ())


async def test_without_a_gateway_the_way_out_is_named() -> None:
    async with LocalSlack() as slack:
        with pytest.raises(UnavailableError, match="callboard up"):
            await simulate("/x", slack=slack, gateway_url="http://127.0.0.1:9", signing_secret=SECRET)


async def test_mistakes_at_the_keyboard_are_named(tmp_path: Path) -> None:
    async with echoing(tmp_path) as world:
        with pytest.raises(InvalidInputError, match="no slash command"):
            await world.simulator.command("/")
        answer = await world.simulator.answer_to(await world.simulator.command("/standup hi"))
        with pytest.raises(NotFoundError, match="its buttons: none"):
            await world.simulator.click(answer, "Yes")
        with pytest.raises(NotFoundError, match="no form"):
            await world.simulator.submit("x")


async def test_waiting_for_what_never_comes_ends(tmp_path: Path) -> None:
    async with slack_world(tmp_path) as world:
        sent = await world.simulator.command("/standup hi")
        with pytest.raises(UnavailableError, match="nothing came back within"):
            await world.simulator.answer_to(sent, within_seconds=0.05)


async def test_whoever_types_often_is_always_answered(tmp_path: Path) -> None:
    """Slack takes five messages at a response URL; each Slack that plays at this address hands out new ones."""
    async with echoing(tmp_path) as world:
        port = int(world.slack.url.rpartition(":")[2])
        urls = {world.slack.response_url("C0GENERAL", "U0ANNA")}
        for _ in range(6):
            async with LocalSlack() as other:
                urls.add(other.response_url("C0GENERAL", "U0ANNA").replace(other.url, f"http://127.0.0.1:{port}"))
        assert len(urls) == 7
