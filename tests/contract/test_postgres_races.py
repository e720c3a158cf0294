"""What SQLite's single writer rules out by itself: two processes at the same rows of PostgreSQL at the same time.

Each trial gives two processes, with connections of their own, the same thing to do many times over.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, select

from callboard.errors import ConflictError, FencedError, VersionConflictError
from callboard.ids import derive_id
from callboard.messaging.events import Event
from callboard.messaging.reply import ReplyTo
from callboard.state.accepting import EventDraft
from callboard.state.agent_state import StateSave
from callboard.state.dead_letters import DeadLetter
from callboard.state.deliveries import DeliveryDraft
from callboard.state.delivery_store import DeliveryStore
from callboard.state.models import dedupe_keys, deliveries, events, order_keys, runs
from callboard.state.runs import RunStatus, WaitingKind
from callboard.state.sql import dead_letters, retention
from tests.support.databases import PATIENT, started
from tests.support.servers.fresh_postgres import fresh_postgres
from tests.support.state_house import TESS, StateHouse, question

ROUNDS = 12

pytestmark = pytest.mark.slow


@pytest.fixture
async def pair() -> AsyncIterator[tuple[StateHouse, StateHouse]]:
    """Two processes: one clock, one source of ids, a database adapter each."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(fresh_postgres())
        one = StateHouse(await stack.enter_async_context(started(url, timeouts=PATIENT)))
        two = StateHouse(await stack.enter_async_context(started(url, timeouts=PATIENT)), clock=one.clock, ids=one.ids)
        yield await one.open(), two


Pair = tuple[StateHouse, StateHouse]


async def outcomes(*work: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*work, return_exceptions=True)


async def test_C7_one_key_at_two_gateways_is_one_event(pair: Pair) -> None:
    for n in range(ROUNDS):
        first, second = pair[0].event(), pair[0].event()
        answers = await asyncio.gather(
            *(house.accept(event, f"slack:{n}", f"ts:{n}") for house in pair for event in (first, second))
        )
        assert len({answer.event_id for answer in answers}) == 1
        assert [answer.duplicate for answer in answers].count(False) == 1
    assert len(await pair[0].rows(events)) == ROUNDS
    assert len(await pair[0].rows(dedupe_keys)) == 2 * ROUNDS


async def test_C7_one_key_with_two_bodies_at_two_gateways_is_refused_to_one(pair: Pair) -> None:
    for n in range(ROUNDS):
        answers = await outcomes(
            *(house.accept(house.event(), f"key:{n}", digest=f"body {i}") for i, house in enumerate(pair))
        )
        refused = [answer for answer in answers if isinstance(answer, ConflictError)]
        assert [error.code for error in refused] == ["idempotency_conflict"]
    assert len(await pair[0].rows(events)) == ROUNDS


async def test_C7_one_event_id_with_two_payloads_is_refused_to_one(pair: Pair) -> None:
    for n in range(ROUNDS):
        event = pair[0].event(input=f"a{n}")
        other = replace(event, payload={"input": f"b{n}"})
        answers = await outcomes(pair[0].accept(event), pair[1].accept(other))
        assert [error.code for error in answers if isinstance(error, ConflictError)] == ["event_id_conflict"]


async def test_R9_two_routers_give_each_event_one_run_and_each_conversation_its_order(pair: Pair) -> None:
    wanted: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    for _ in range(ROUNDS):
        for key, expected in wanted.items():
            expected.append((await pair[0].accept(pair[0].event(order=key, place="p", places=2))).event_id)
        await asyncio.gather(*(house.route() for house in pair * 2))
    stored = await pair[0].rows(runs)
    assert len(stored) == 3 * ROUNDS
    for key, expected in wanted.items():
        of_key = sorted((row for row in stored if row["order_key"] == key), key=lambda row: row["key_seq"])
        assert [row["event_id"] for row in of_key] == expected
        assert len({row["key_seq"] for row in of_key}) == ROUNDS


async def test_R10_a_key_that_is_deleted_while_runs_of_it_come_and_end_keeps_its_line(pair: Pair) -> None:
    """The sweep is told that every key is old: what spares a key is only that somebody is at it."""
    one, two = pair
    accepted: list[str] = []

    def sweep(connection: Connection) -> int:
        far = one.clock.now() + timedelta(days=1)
        return retention.delete_order_keys(connection, far, None, 100).deleted

    deleted = 0
    for _ in range(2 * ROUNDS):
        accepted += [(await one.accept(one.event(order=key, place="p", places=1))).event_id for key in ("a", "b")]
        running = [item.run for item in await two.claim()]
        done = await asyncio.gather(
            *(house.route() for house in pair),
            *(two.settle(run) for run in running),
            *(house.database.write(sweep) for house in pair for _ in range(2)),
        )
        deleted += sum(count for count in done if isinstance(count, int))
    while running := [item.run for item in await one.claim()]:
        await asyncio.gather(*(one.settle(run) for run in running), two.database.write(sweep))
    stored = await one.rows(runs)
    assert len(stored) == len(accepted)
    assert {row["status"] for row in stored} == {"succeeded"}
    for key in ("a", "b"):
        line = sorted((row for row in stored if row["order_key"] == key), key=lambda row: row["key_seq"])
        assert len({row["key_seq"] for row in line}) == 2 * ROUNDS
        places = [accepted.index(row["event_id"]) for row in line]
        assert places == sorted(places)
    deleted += await one.database.write(sweep)
    assert deleted
    assert await one.rows(order_keys) == []


async def test_R5_claims_at_once_take_each_run_once_and_interactive_ones_first(pair: Pair) -> None:
    batch = {await pair[0].queue(lane="batch") for _ in range(8)}
    interactive = {await pair[0].queue() for _ in range(24)}
    claims = await asyncio.gather(
        *(house.claimed_ids(name, slots=2) for house in pair for name in ("p1", "p2") for _ in range(6))
    )
    taken = Counter(run_id for claim in claims for run_id in claim)
    assert set(taken.values()) == {1}
    left = {row["run_id"] for row in await pair[0].rows(runs) if row["status"] == "queued"}
    assert not (left & interactive) or not (set(taken) & batch)
    rest = await pair[0].claimed_ids()
    assert set(taken) | set(rest) == batch | interactive


async def test_R6_places_are_never_more_than_there_are(pair: Pair) -> None:
    for _ in range(ROUNDS):
        await pair[0].accept(pair[0].event("placed", place="agent:placed", places=3))
    await asyncio.gather(*(house.route() for house in pair))
    done = 0
    while done < ROUNDS:
        claims = await asyncio.gather(*(house.claim(name) for house, name in zip(pair, ("p1", "p2"), strict=True)))
        running = [item.run for claim in claims for item in claim]
        assert 0 < len(running) <= 3
        await asyncio.gather(*(pair[n % 2].settle(run) for n, run in enumerate(running)))
        done += len(running)
    assert await pair[0].claim() == []


async def test_R11_turns_go_on_while_two_processes_end_and_accept(pair: Pair) -> None:
    """Ends hand turns on while the router gives numbers: nobody waits for nobody, nobody is forgotten."""
    for n in range(ROUNDS):
        await pair[0].accept(pair[0].event("talk", order=f"k{n % 3}", place="talk", places=2))
    await pair[0].route()
    done = 0
    while done < 2 * ROUNDS:
        claims = await asyncio.gather(*(house.claim(name) for house, name in zip(pair, ("p1", "p2"), strict=True)))
        running = [item.run for claim in claims for item in claim]
        assert running, "everything waits"
        if done < ROUNDS:
            for run in running:
                await pair[0].accept(pair[0].event("talk", order=run.order_key, place="talk", places=2))
        await asyncio.gather(
            *(pair[n % 2].settle(run) for n, run in enumerate(running)), *(house.route() for house in pair)
        )
        done += len(running)


async def test_a_plan_that_begins_to_wait_hears_of_a_step_that_ends_just_then(pair: Pair) -> None:
    one, two = pair
    for n in range(ROUNDS):
        plan = await one.start("plan", mode="collaborative")
        children = (one.child(plan, f"s{n}", mode="autonomous"),)
        await one.settle(plan, RunStatus.WAITING, waiting_kind=WaitingKind.STEPS, children=children)
        (step,) = await two.claim("p2")
        # Woken by hand, the plan is about to wait again while its step ends.
        await _wake(one, plan.run_id)
        (again,) = await one.claim("p1", mode="collaborative")
        await asyncio.gather(
            one.settle(again.run, RunStatus.WAITING, waiting_kind=WaitingKind.STEPS), two.settle(step.run)
        )
        assert await one.status(plan.run_id) is RunStatus.QUEUED
        (last,) = await one.claim("p1", mode="collaborative")
        await one.settle(last.run)


async def test_R18_an_answer_that_comes_while_the_run_begins_to_wait_is_not_missed(pair: Pair) -> None:
    one, two = pair
    for _ in range(ROUNDS):
        run = await one.start()
        await one.ask(run)
        await _wake(one, run.run_id)
        (again,) = await one.claim()
        asked = {"waiting_kind": WaitingKind.CLARIFICATION, "question": question(run)}
        await asyncio.gather(one.settle(again.run, RunStatus.WAITING, **asked), two.answer(run.run_id))
        assert await one.status(run.run_id) is RunStatus.QUEUED
        (last,) = await one.claim()
        await one.settle(last.run)


async def test_A5_of_two_answers_at_two_gateways_the_first_wins(pair: Pair) -> None:
    for _ in range(ROUNDS):
        run = await pair[0].start()
        await pair[0].ask(run)
        answers = await outcomes(*(house.answer(run.run_id, given) for house, given in zip(pair, "ab", strict=True)))
        assert [error.code for error in answers if isinstance(error, ConflictError)] == ["already_answered"]
        (claimed,) = await pair[0].claim()
        await pair[0].settle(claimed.run)


async def test_R19_a_cancel_and_an_end_at_once_come_to_one_of_the_two(pair: Pair) -> None:
    one, two = pair
    for _ in range(ROUNDS):
        run = await one.start(order="k")
        ended, cancelled = await outcomes(one.settle(run), two.store.request_cancel(run.run_id, TESS))
        status = await one.status(run.run_id)
        if isinstance(cancelled, ConflictError):
            assert (ended, status) == (RunStatus.SUCCEEDED, RunStatus.SUCCEEDED)
        else:
            assert (ended, status) == (RunStatus.CANCELLED, RunStatus.CANCELLED)


async def test_R14_a_claim_of_a_process_that_is_declared_dead_just_then_leaves_no_run_behind(pair: Pair) -> None:
    one, two = pair
    for n in range(ROUNDS):
        await one.processes.register(f"d{n}", "pool", "here", n)
        run_id = await one.queue()
        claimed, _ = await outcomes(one.claim(f"d{n}"), two.processes.declare_dead([f"d{n}"]))
        assert isinstance(claimed, FencedError | list)
        (again,) = await two.claim("p2")
        assert again.run.run_id == run_id
        await two.settle(again.run)


async def test_D5_of_two_saves_of_one_state_the_first_holds(pair: Pair) -> None:
    for n in range(ROUNDS):
        saves = [
            StateSave(
                agent="talk",
                conversation_id="c",
                expected=n,
                memory={"n": n, "of": name},
                appended=(f"m{n}",),
                turns=n + 1,
                run_id=None,
                fencing=0,
            )
            for name in "ab"
        ]
        answers = await outcomes(*(house.states.save_state(save) for house, save in zip(pair, saves, strict=True)))
        assert len([error for error in answers if isinstance(error, VersionConflictError)]) == 1
    state = await pair[0].states.load_state("talk", "c")
    assert (state.version, state.history) == (ROUNDS, tuple(f"m{n}" for n in range(ROUNDS)))


async def test_C6_a_dead_letter_is_requeued_once(pair: Pair) -> None:
    for n in range(ROUNDS):
        event = pair[0].event()
        letter = DeadLetter(
            id=derive_id("letter", n),
            tenant="default",
            queue="inbox",
            topic=event.topic,
            reason="trial",
            event_id=event.event_id,
            trace_id=event.trace_id,
            body=event.to_json(),
            deliveries=5,
            status="kept",
            created_at=pair[0].clock.now(),
            closed_at=None,
        )
        await pair[0].database.write(partial(dead_letters.keep, letter=letter))
        requeue = partial(
            dead_letters.requeue, tenant="default", letter_id=letter.id, actor=TESS, now=letter.created_at
        )
        answers = await outcomes(*(house.database.write(requeue) for house in pair))
        assert [error.code for error in answers if isinstance(error, ConflictError)] == ["closed"]


async def test_B1_two_responders_keep_the_order_of_a_thread_and_the_pace_of_a_channel(pair: Pair) -> None:
    one = pair[0]
    stores = [DeliveryStore(house.database, one.clock) for house in pair]
    for n in range(ROUNDS):
        await stores[0].plan([message(n, channel=f"C{n % 2}", thread=f"{n % 4}.0")])
    sent: list[tuple[str, str]] = []
    while len(sent) < ROUNDS:
        claims = await asyncio.gather(*(store.claim(f"r{n}", 10) for n, store in enumerate(stores)))
        taken = [delivery for claim in claims for delivery in claim]
        channels = Counter(delivery.target.channel for delivery in taken)
        assert set(channels.values()) <= {1}, "two messages to a channel at once"
        sent += [(delivery.target.thread_ts or "", delivery.id) for delivery in taken]
        rows = await one.database.read(lambda c: c.execute(select(deliveries.c.id, deliveries.c.owner)).all())
        assert {row.id for row in rows if row.owner} == {delivery.id for delivery in taken}
        await one.database.write(
            lambda c: c.execute(
                deliveries.update().where(deliveries.c.owner.is_not(None)).values(status="sent", owner=None)
            ).close()
        )
        await one.clock.advance(1.0)
    for thread in {thread for thread, _ in sent}:
        of_thread = [delivery_id for name, delivery_id in sent if name == thread]
        assert of_thread == [_id(n) for n in range(ROUNDS) if f"{n % 4}.0" == thread]


async def test_a_batch_of_many_sizes_is_accepted_whole(pair: Pair) -> None:
    drafts = [EventDraft(event=_sized(pair[0], n)) for n in (0, 1, 100_000, 1_000_000)]
    answers = await asyncio.gather(*(pair[n % 2].store.accept_event(draft) for n, draft in enumerate(drafts)))
    for draft, answer in zip(drafts, answers, strict=True):
        stored = await pair[0].queries.event(answer.event_id)
        assert stored is not None
        assert stored.event.payload == draft.event.payload


async def _wake(house: StateHouse, run_id: str) -> None:
    change = runs.update().where(runs.c.run_id == run_id).values(status="queued", ready=True)
    await house.database.write(lambda c: c.execute(change).close())


def _sized(house: StateHouse, size: int) -> Event:
    return house.event(input="x" * size)


def _id(n: int) -> str:
    return derive_id("message", n)


def message(n: int, *, channel: str, thread: str) -> DeliveryDraft:
    target = ReplyTo(channel=channel, thread_ts=thread, mode="thread", team="T1")
    return DeliveryDraft(id=_id(n), kind="result", target=target, trace_id="t", body={"text": str(n)})
