"""What is past its time goes, and nothing that is alive or that something alive refers to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, insert, update

from callboard.messaging.delivery import Undeliverable
from callboard.state.agent_health import AgentBeat
from callboard.state.agent_health_store import AgentHealthStore
from callboard.state.agent_state import StateSave
from callboard.state.dead_letter_store import DeadLetterStore
from callboard.state.models import (
    conversation_messages,
    dead_letters,
    dedupe_keys,
    deliveries,
    events,
    occurrences,
    operations,
    order_keys,
    outbox,
    processes,
    progress,
    run_io,
    runs,
    schedules,
)
from callboard.state.retention import Retention
from callboard.state.runs import RunStatus, WaitingKind
from callboard.state.sql import retention
from tests.support.sqlite_file import open_sqlite
from tests.support.state_house import TESS, StateHouse

Plan = list[tuple[str, int]]


def sweeper(house: StateHouse, **options: Any) -> Retention:
    return Retention(house.database, house.clock, **{"pause_seconds": 0.0, **options})


async def count(house: StateHouse, table: Table) -> int:
    return len(await house.rows(table))


async def told(house: StateHouse) -> None:
    """Everything was routed and published: the outbox is empty."""
    await house.route()
    await house.database.write(lambda connection: connection.execute(outbox.delete()))


async def test_an_ended_run_goes_with_all_that_belongs_to_it(house: StateHouse) -> None:
    await house.settle(await house.start(), output="done")
    await told(house)
    await house.later(days=32)
    deleted = await sweeper(house).sweep()
    assert deleted["runs"] == 1
    for table in (runs, run_io, progress, events, dedupe_keys):
        assert await count(house, table) == 0, table.name
    assert await sweeper(house).sweep() == dict.fromkeys(deleted, 0)


async def test_what_is_younger_than_the_limit_stays(house: StateHouse) -> None:
    run = await house.start()
    await house.later(days=10)
    await house.settle(run, output="done")
    await told(house)
    await house.later(days=25)
    assert not any((await sweeper(house).sweep()).values())
    assert (await house.result(run.run_id)).output == "done"


async def test_the_days_are_a_setting_but_a_repetition_is_known_for_thirty(house: StateHouse) -> None:
    accepted = await house.accept(house.event(), "key")
    await house.route()
    [claimed] = await house.claim()
    await house.settle(claimed.run)
    await told(house)
    await house.later(days=3)
    deleted = await sweeper(house, days=1).sweep()
    assert (deleted["runs"], deleted["dedupe_keys"], deleted["events"]) == (1, 0, 0)
    again = await house.accept(house.event(), "key")
    assert (again.duplicate, again.event_id) == (True, accepted.event_id)


@pytest.mark.parametrize("days", [1, 15, 29.9])
async def test_an_old_duplicate_is_answered_with_the_first_event(house: StateHouse, days: float) -> None:
    accepted = await house.accept(house.event(), "key")
    await house.later(days=days)
    await sweeper(house, days=0.5).sweep()
    again = await house.accept(house.event(), "key")
    assert (again.duplicate, again.event_id, again.trace_id) == (True, accepted.event_id, accepted.trace_id)


async def test_a_run_that_is_alive_keeps_everything_however_old(house: StateHouse) -> None:
    waiting = await house.start("asker")
    await house.ask(waiting, "q")
    queued = await house.queue("later")
    running = await house.start("worker")
    await told(house)
    await house.later(days=100)
    assert (await sweeper(house).sweep())["runs"] == 0
    await house.answer(waiting.run_id)
    assert await house.status(waiting.run_id) == RunStatus.QUEUED
    assert await house.status(queued) == RunStatus.RUNNING
    assert await house.settle(running, output="at last") == RunStatus.SUCCEEDED
    assert await count(house, events) >= 3


async def parent_with_ended_child(house: StateHouse) -> tuple[str, str]:
    parent = await house.start("boss", mode="collaborative")
    children = tuple(house.child(parent, step, mode="autonomous") for step in ("a", "b"))
    await house.settle(parent, RunStatus.WAITING, waiting_kind=WaitingKind.STEPS, children=children)
    [first, _] = await house.claim()
    await house.settle(first.run, output="a done")
    await told(house)
    return parent.run_id, first.run.run_id


async def test_the_children_of_a_living_parent_stay(house: StateHouse) -> None:
    _, child = await parent_with_ended_child(house)
    await house.later(days=100)
    assert (await sweeper(house).sweep())["runs"] == 0
    assert (await house.result(child)).output == "a done"


async def test_a_child_that_has_not_ended_keeps_its_ended_parent(house: StateHouse) -> None:
    parent, _ = await parent_with_ended_child(house)
    await house.store.request_cancel(parent, TESS)
    await told(house)
    last = next(row for row in await house.rows(runs) if row["step_id"] == "b")
    assert (await house.status(parent), last["status"]) == (RunStatus.CANCELLED, "running")
    await house.later(days=100)
    assert (await sweeper(house).sweep())["runs"] == 0
    assert await house.settle(await house.run(last["run_id"])) == RunStatus.CANCELLED


async def test_a_family_goes_together(house: StateHouse) -> None:
    parent, _ = await parent_with_ended_child(house)
    await house.store.request_cancel(parent, TESS)
    last = next(run for run in await house.rows(runs) if run["step_id"] == "b")
    if last["status"] == "running":
        second = await house.run(last["run_id"])
        await house.settle(second)
    await told(house)
    await house.later(days=31)
    deleted = await sweeper(house, at_once=1).sweep()
    assert (deleted["runs"], await count(house, runs)) == (3, 0)


async def test_a_message_that_is_still_owed_keeps_its_run(house: StateHouse) -> None:
    await house.settle(await house.start(reply=True), output="hello")
    await told(house)
    await house.later(days=31)
    assert (await sweeper(house).sweep())["runs"] == 0
    await house.database.write(
        lambda connection: connection.execute(update(deliveries).values(status="sent", updated_at=house.clock.now()))
    )
    assert (await sweeper(house).sweep())["runs"] == 1
    assert await count(house, deliveries) == 1  # sent today
    await house.later(days=31)
    assert (await sweeper(house).sweep())["deliveries"] == 1


async def test_memories_and_the_record_of_operations_stay_for_ever(house: StateHouse) -> None:
    run = await house.start(conversation="c")
    state = StateSave(
        agent="echo", conversation_id="c", expected=0, memory={"k": 1}, appended=("m",), turns=1, run_id=run.run_id
    )
    await house.settle(run, state=state)
    other = await house.queue()
    await house.store.request_cancel(other, TESS)
    kept = await count(house, operations)
    assert kept
    await told(house)
    await house.later(days=1000)
    assert (await sweeper(house).sweep())["runs"] == 2
    loaded = await house.states.load_state("echo", "c")
    assert (loaded.version, loaded.memory, loaded.history) == (1, {"k": 1}, ("m",))
    assert (await count(house, operations), await count(house, conversation_messages)) == (kept, 1)


async def test_events_stay_until_they_are_routed_and_told(house: StateHouse) -> None:
    await house.settle(await house.start())
    await house.route()  # not told
    await house.accept(house.event())  # not routed
    await house.later(days=40)
    assert (await sweeper(house).sweep())["events"] == 0


async def test_an_event_that_claims_to_be_of_the_future_ends_no_sweep(house: StateHouse) -> None:
    for days in (400, 0):
        await house.clock.advance(timedelta(days=days).total_seconds())
        await house.settle(await house.start())
        house.clock.set_wall(house.clock.now() - timedelta(days=days))
    await told(house)
    await house.later(days=40)
    assert (await sweeper(house, at_once=3).sweep())["events"] == 2


async def occurred(house: StateHouse, phase: str, *, run_id: str | None = None, event_id: str | None = None) -> None:
    row = {
        "tenant": "default",
        "schedule_id": "s",
        "nominal": house.clock.now(),
        "agent": "echo",
        "status": "fired",
        "phase": phase,
        "created_at": house.clock.now(),
        "run_id": run_id,
        "event_id": event_id,
    }
    await house.database.write(lambda connection: connection.execute(insert(occurrences), [row]))


async def scheduled(house: StateHouse) -> None:
    row = {
        "tenant": "default",
        "id": "s",
        "agent": "echo",
        "time_keys": "t",
        "paused": False,
        "since": house.clock.now(),
        "updated_at": house.clock.now(),
    }
    await house.database.write(lambda connection: connection.execute(insert(schedules), [row]))


async def test_closed_occurrences_go_but_for_the_newest(house: StateHouse) -> None:
    await scheduled(house)
    for phase in ("closed", "open", "queued", "closed", "closed"):
        await occurred(house, phase)
        await house.later(hours=1)
    await house.later(days=31)
    assert (await sweeper(house, at_once=1).sweep())["occurrences"] == 2
    left = sorted((row["nominal"], row["phase"]) for row in await house.rows(occurrences))
    assert [phase for _, phase in left] == ["open", "queued", "closed"]


async def test_what_an_open_occurrence_waits_for_stays(house: StateHouse) -> None:
    """Without its run and event it would count as at work for ever, and its schedule never fire again."""
    await scheduled(house)
    run = await house.start()
    await occurred(house, "open", run_id=run.run_id, event_id=run.event_id)
    await house.settle(run)
    nobody = house.event("nobody", agents=[None])
    await house.accept(nobody)
    await house.route()
    await house.later(seconds=1)
    await occurred(house, "open", event_id=nobody.event_id)
    await told(house)
    await house.later(days=50)
    deleted = await sweeper(house).sweep()
    assert deleted["runs"] == 0
    assert {run.event_id, nobody.event_id} <= {row["event_id"] for row in await house.rows(events)}


async def test_dead_letters_go_once_somebody_has_dealt_with_them(house: StateHouse) -> None:
    store = DeadLetterStore(house.database, house.announced, house.clock)
    for n in range(2):
        await store.keep(Undeliverable(queue="q", topic="t", body=b"%d" % n, reason="bad", deliveries=5))
    first = (await house.rows(dead_letters))[0]["id"]
    await store.drop(first, TESS)
    await house.later(days=31)
    assert (await sweeper(house).sweep())["dead_letters"] == 1
    assert first not in {row["id"] for row in await house.rows(dead_letters)}


async def test_dead_processes_and_their_signs_of_life_go(house: StateHouse) -> None:
    for process in ("p1", "p2"):
        store = AgentHealthStore(house.database, house.announced, house.clock, house.ids)
        await store.save_beats([AgentBeat(agent="a", process_id=process, active=0, progress=0)])
    await house.processes.declare_dead(["p1"])
    await house.later(days=31)
    deleted = await sweeper(house).sweep()
    assert (deleted["processes"], deleted["agent_beats"]) == (1, 1)
    assert [row["id"] for row in await house.rows(processes)] == ["p2"]


async def keys_of(house: StateHouse) -> set[str]:
    return {row["key"] for row in await house.rows(order_keys)}


async def test_a_key_goes_once_it_was_not_used_for_as_long_as_runs_are_kept(house: StateHouse) -> None:
    for key in ("old", "used"):
        await house.settle(await house.start(order=key, place="agent:echo"))
    await house.later(days=20)
    await house.settle(await house.start(order="used", place="agent:echo"))
    await told(house)
    await house.later(days=15)
    assert (await sweeper(house).sweep())["order_keys"] >= 1
    assert await keys_of(house) == {"used"}
    await house.later(days=31)
    assert (await sweeper(house).sweep())["order_keys"] == 1
    assert await keys_of(house) == set()
    await house.start(order="old")
    assert "old" in await keys_of(house)


async def test_a_key_stays_while_a_run_of_it_is_under_way_or_in_line(house: StateHouse) -> None:
    running = await house.start(order="k", place="agent:echo")
    waiting = await house.start(order="asks")
    await house.ask(waiting)
    second = await house.queue(order="k", place="agent:echo")
    await told(house)
    await house.later(days=100)
    kept = await keys_of(house)
    assert {"k", "asks"} <= kept
    assert (await sweeper(house, at_once=1).sweep())["order_keys"] == 0
    assert await keys_of(house) == kept
    await house.settle(running)
    assert await house.claimed_ids() == [second]


async def test_every_key_past_its_time_goes_in_portions(house: StateHouse) -> None:
    running = await house.start(order="key3")
    for n in (0, 1, 2, 4, 5):
        await house.settle(await house.start(order=f"key{n}"))
    await told(house)
    await house.later(days=31)
    assert (await sweeper(house, at_once=2).sweep())["order_keys"] == 5
    assert await keys_of(house) == {"key3"}
    await house.settle(running)


Steps = list[tuple[str, str, int]]


@pytest.mark.slow
@settings(max_examples=10)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["queue", "end", "ask", "answer"]), st.sampled_from("abc"), st.integers(0, 8)),
        max_size=14,
    )
)
async def test_I4_a_line_keeps_its_order_whenever_its_key_was_deleted(steps: Steps, tmp_path_factory: Any) -> None:
    """Keys come and go, some with runs of theirs still kept: the numbers of those only grow, and turns follow them."""
    async with open_sqlite(tmp_path_factory.mktemp("line")) as database:
        house = await StateHouse(database).open()
        accepted: list[str] = []
        under_way: dict[str, Any] = {}
        asked: list[str] = []
        for what, key, days in steps:
            under_way |= {str(item.run.order_key): item.run for item in await house.claim()}
            if what == "queue":
                accepted.append(await house.queue(f"agent{len(accepted)}", order=key))
            elif what == "answer" and asked:
                await house.answer(asked.pop(0))
            elif what in ("end", "ask") and key in under_way:
                run = under_way.pop(key)
                if what == "ask":
                    await house.ask(run, f"q{run.attempt}-{len(asked)}-{run.fencing}")
                    asked.append(run.run_id)
                else:
                    await house.settle(run)
            await house.later(days=days)
            before = house.clock.now() - timedelta(days=10)
            for unit in (retention.delete_runs, retention.delete_order_keys):
                await house.database.write(partial(unit, before=before, after=None, limit=100))
            check_lines(await house.rows(runs), accepted)


def check_lines(rows: Sequence[dict[str, Any]], accepted: list[str]) -> None:
    for key in "abc":
        line = sorted((row for row in rows if row["order_key"] == key), key=lambda row: int(row["key_seq"]))
        assert len({row["key_seq"] for row in line}) == len(line)
        places = [accepted.index(row["run_id"]) for row in line]
        assert places == sorted(places)
        active = [row for row in line if row["finished_at"] is None]
        assert [row["has_turn"] for row in active] == [True, *[False] * (len(active) - 1)][: len(active)]


async def test_several_sweeps_at_once_delete_each_record_once(house: StateHouse) -> None:
    for _ in range(20):
        await house.settle(await house.start())
    await told(house)
    await house.later(days=32)
    swept = await asyncio.gather(*(sweeper(house, at_once=3).sweep() for _ in range(4)))
    await sweeper(house).sweep()  # what one passed over because another held it
    assert sum(each["runs"] for each in swept) <= 20
    assert await count(house, runs) == await count(house, events) == await count(house, run_io) == 0


@settings(max_examples=15)
@given(plan=st.lists(st.tuples(st.sampled_from(["end", "wait", "run", "queue", "answer"]), st.integers(0, 40))))
async def test_retention_changes_the_outcome_of_nothing_alive(
    plan: list[tuple[str, int]], tmp_path_factory: Any
) -> None:
    """The same story with and without sweeps: whatever is alive at its end is alive in both, and ends the same."""
    with_sweeps, without = [
        await told_story(plan, tmp_path_factory.mktemp("story"), sweeps=sweeps) for sweeps in (True, False)
    ]
    assert with_sweeps == without


async def told_story(plan: Plan, folder: Any, *, sweeps: bool) -> list[tuple[str, Any]]:
    async with open_sqlite(folder) as database:
        house = await StateHouse(database).open()
        asked: list[str] = []
        running = []
        for step, (what, days) in enumerate(plan):
            if what == "queue":
                await house.queue(f"agent{step}", order="key")
            elif what == "answer" and asked:
                await house.answer(asked.pop(0))
            elif what != "answer":
                run = await house.start(f"agent{step}")
                if what == "end":
                    await house.settle(run, output=step)
                elif what == "wait":
                    await house.ask(run, f"q{step}")
                    asked.append(run.run_id)
                else:
                    running.append(run)
            await told(house)
            await house.later(days=days)
            if sweeps:
                await sweeper(house, days=10).sweep()
        for run_id in asked:
            await house.answer(run_id)
        for run in running:
            await house.settle(run, output="late")
        ended = [(run.run_id, await house.status(run.run_id)) for run in running]
        for _ in range(len(plan) + 1):
            ended += [(item.run.run_id, await house.settle(item.run)) for item in await house.claim()]
        return ended
