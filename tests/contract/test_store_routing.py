"""Routing: events become runs in the order of acceptance, each once (R2, R9), and what a busy agent does (on_busy)."""

from __future__ import annotations

import asyncio

import pytest

from callboard.errors import InvalidInputError
from callboard.messaging.reply import ReplyTo
from callboard.state.finishing import StoredEvent
from callboard.state.models import deliveries, run_io, runs
from callboard.state.routing import Notice, Routing
from callboard.state.runs import RunStatus
from tests.support.state_house import StateHouse, decide


async def test_events_are_routed_in_the_order_of_acceptance(house: StateHouse) -> None:
    accepted = await asyncio.gather(*(house.accept(house.event(n=n)) for n in range(30)))
    seen: list[int] = []

    def look(stored: StoredEvent) -> Routing:
        seen.append(stored.seq)
        return decide(stored)

    routed = await house.store.route(look)
    assert seen == [answer.seq for answer in accepted]
    assert (routed.events, routed.runs) == (30, 30)
    rows = sorted(await house.rows(runs), key=lambda row: row["seq"])
    assert [row["event_id"] for row in rows] == [answer.event_id for answer in accepted]


async def test_an_event_is_routed_once(house: StateHouse) -> None:
    await house.queue()
    again = await house.route()
    assert (again.events, again.runs) == (0, 0)
    assert len(await house.rows(runs)) == 1


async def test_two_routers_at_once_give_each_event_one_run(house: StateHouse) -> None:
    await asyncio.gather(*(house.accept(house.event()) for _ in range(40)))
    both = await asyncio.gather(*(house.route() for _ in range(4)))
    assert sum(routed.runs for routed in both) == 40
    assert len(await house.rows(runs)) == len(await house.rows(run_io)) == 40


async def test_one_event_gives_each_matching_agent_one_run(house: StateHouse) -> None:
    await house.accept(house.event(agents=["a", "b", "a"]))
    await house.route()
    assert sorted(row["agent"] for row in await house.rows(runs)) == ["a", "b"]


async def test_a_routing_that_fails_leaves_every_event_unrouted(house: StateHouse) -> None:
    await house.accept(house.event())

    def broken(stored: StoredEvent) -> Routing:
        raise InvalidInputError(f"cannot decide about {stored.seq}")

    with pytest.raises(InvalidInputError):
        await house.store.route(broken)
    assert (await house.route()).events == 1


async def test_an_unmatched_call_is_counted_and_its_sender_is_told(house: StateHouse) -> None:
    await house.accept(house.event())
    notice = Notice(target=ReplyTo(channel="C1", team="T1"), text="nobody is there")
    routed = await house.store.route(lambda _: Routing(notices=(notice,), expected=True))
    assert (routed.runs, routed.unmatched) == (0, 1)
    (delivery,) = await house.rows(deliveries)
    assert (delivery["kind"], delivery["status"]) == ("notice", "planned")
    assert delivery["body"]["text"] == "nobody is there"


async def test_what_is_routed_wakes_the_pools_of_its_mode(house: StateHouse) -> None:
    await house.queue(mode="continuous")
    await house.queue(lane="batch")
    assert {"run.requested.continuous.interactive", "run.requested.autonomous.batch"} <= set(house.announced.wakes)


async def test_a_busy_agent_that_rejects_ends_the_second_message_as_failed(house: StateHouse) -> None:
    first = await house.start(order="echo/1")
    second = await house.queue(order="echo/1", on_busy="reject", reply=True)
    result = await house.result(second)
    assert result.run.status is RunStatus.FAILED
    assert result.error is not None
    assert result.error.code == "busy"
    assert [row["kind"] for row in await house.rows(deliveries)] == ["failure"]
    assert f"run.failed.{result.run.agent}" in house.announced.topics()
    await house.settle(first)
    third = await house.queue(order="echo/1", on_busy="reject")
    assert await house.claimed_ids() == [third]


async def test_two_messages_routed_at_once_to_a_rejecting_agent_leave_one(house: StateHouse) -> None:
    for _ in range(3):
        await house.accept(house.event(order="echo/1", on_busy="reject"))
    await house.route()
    assert sorted(row["status"] for row in await house.rows(runs)) == ["failed", "failed", "queued"]


async def test_a_busy_agent_that_is_interrupted_gives_up_everything_before(house: StateHouse) -> None:
    running = await house.start(order="echo/1", on_busy="interrupt")
    queued = await house.queue(order="echo/1")
    newest = await house.queue(order="echo/1", on_busy="interrupt")
    assert await house.status(queued) is RunStatus.CANCELLED
    assert (await house.run(running.run_id)).cancel_requested
    assert "run.cancel.p1" in house.announced.wakes
    assert await house.claimed_ids() == []
    assert await house.settle(running) is RunStatus.CANCELLED
    assert await house.claimed_ids() == [newest]


async def test_interrupting_a_run_that_waits_ends_it_at_once(house: StateHouse) -> None:
    waiting = await house.start(order="echo/1")
    await house.ask(waiting)
    newest = await house.queue(order="echo/1", on_busy="interrupt")
    assert await house.status(waiting.run_id) is RunStatus.CANCELLED
    assert await house.claimed_ids() == [newest]
