"""The tiers together: what is shown may be half a minute old, what is executed never; one's own save is seen."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from callboard.clock import SystemClock
from callboard.errors import VersionConflictError
from callboard.messaging.reply import ReplyTo
from callboard.state.agent_state import AgentState, StateSave
from callboard.state.cache import Cache, NoCache
from callboard.state.database import Database
from callboard.state.models import runs
from callboard.state.query_store import QueryStore
from callboard.state.runs import RunStatus
from callboard.state.state_manager import StateManager
from callboard.state.store import Store
from tests.contract.caches import CACHES, OpenCache, redis_at
from tests.support.servers.fresh_redis import fresh_redis
from tests.support.sqlite_file import open_sqlite
from tests.support.state_house import Announced, StateHouse
from tests.support.waiting import wait_until


@pytest.fixture(params=sorted(CACHES))
async def another(request: pytest.FixtureRequest) -> AsyncIterator[OpenCache]:
    async with CACHES[request.param]() as opened:
        yield opened


def manager(database: Database, cache: Cache) -> StateManager:
    clock = SystemClock()
    return StateManager(database, Store(database, Announced(), clock), clock, cache)


def save(state: AgentState, **parts: Any) -> StateSave:
    base = StateSave(
        agent=state.agent,
        conversation_id=state.conversation_id,
        expected=state.version,
        memory={"version": state.version + 1},
        appended=(f"m{state.version}",),
        turns=state.turns + 1,
        before=state,
    )
    return replace(base, **parts)


async def test_a_state_is_shown_as_it_was_saved(house: StateHouse, another: OpenCache) -> None:
    states = manager(house.database, await another())
    first = await states.load_state("echo", "1", display=True)
    assert first.version == 0
    await states.save_state(save(first, memory={"k": [1, {"ö": None}]}, appended=("a", {"b": 1}), run_id="r"))
    shown = await states.load_state("echo", "1", display=True)
    for _ in range(10):
        shown = await states.load_state("echo", "1", display=True)
        assert shown == await states.load_state("echo", "1")
        assert await states.load_latest_agent_state("echo", display=True) == shown
        await asyncio.sleep(0)
    assert (shown.version, shown.messages, shown.history) == (1, 2, ("a", {"b": 1}))


async def test_what_is_shown_holds_the_newest_messages_that_were_asked_for(
    house: StateHouse, another: OpenCache
) -> None:
    states = manager(house.database, await another())
    state = await states.load_state("echo", "1")
    await states.save_state(save(state, appended=tuple(range(500))))
    for newest in (0, 1, 5, 200, 300, 5):
        shown = await states.load_state("echo", "1", newest=newest, display=True)
        assert shown.history == tuple(range(500 - newest, 500))


async def test_after_a_save_without_its_origin_the_old_copy_is_not_shown(house: StateHouse, another: OpenCache) -> None:
    states = manager(house.database, await another())
    for version in range(5):
        state = await states.load_state("echo", "1", display=True)
        assert state.version == version
        await states.save_state(save(state, before=None))


async def test_D3_a_refused_save_changes_nothing_that_is_shown(house: StateHouse, another: OpenCache) -> None:
    one, two = [manager(house.database, await another()) for _ in range(2)]
    empty = await one.load_state("echo", "1")
    await one.save_state(save(empty, memory={"by": "one"}))
    with pytest.raises(VersionConflictError):
        await two.save_state(save(empty, memory={"by": "two"}))
    for states in (one, two):
        for _ in range(5):
            assert (await states.load_state("echo", "1", display=True)).memory == {"by": "one"}


async def test_the_end_of_a_run_with_its_state_is_shown(house: StateHouse, another: OpenCache) -> None:
    states = StateManager(house.database, house.store, SystemClock(), await another())
    run = await house.start()
    state = await states.load_state("echo", "c", display=True)
    await house.settle(run, state=save(state, memory={"n": 1}, fencing=run.fencing))
    assert (await states.load_state("echo", "c", display=True)).memory == {"n": 1}


async def test_a_cancelled_run_leaves_no_state_to_show(house: StateHouse, another: OpenCache) -> None:
    states = StateManager(house.database, house.store, SystemClock(), await another())
    run = await house.start()
    state = await states.load_state("echo", "c")
    await house.store.request_cancel(run.run_id, run.actor)
    assert await house.settle(run, state=save(state, memory={"n": 1})) == RunStatus.CANCELLED
    for _ in range(5):
        assert await states.load_state("echo", "c", display=True) == await states.load_state("echo", "c")


async def test_what_is_executed_is_never_read_from_the_cache(house: StateHouse, another: OpenCache) -> None:
    """Another process has saved meanwhile: its version is what the next event continues, whatever the cache holds."""
    one, two = [manager(house.database, await another()) for _ in range(2)]
    for version in range(10):
        state = await one.load_state("echo", "1")
        assert state.version == version
        await two.load_state("echo", "1", display=True)
        await two.save_state(save(state))


async def test_an_ended_result_may_be_kept_and_an_unfinished_one_never_is(
    house: StateHouse, another: OpenCache
) -> None:
    queries = QueryStore(house.database, await another())
    states = StateManager(house.database, house.store, SystemClock(), await another())
    run = await house.start(text="hello", conversation="c")
    for status in (RunStatus.RUNNING, RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.SUCCEEDED):
        if status is RunStatus.QUEUED:
            await house.settle(run, RunStatus.QUEUED)
        elif status is RunStatus.SUCCEEDED:
            run = await house.run(run.run_id)
            await house.settle(run, output={"answer": [1, 2]}, cost_usd=0.5)
        elif (await house.run(run.run_id)).status is RunStatus.QUEUED:
            await house.claim()
        for _ in range(4):
            found = await queries.result(run.run_id)
            assert found is not None
            assert found.run.status is status
            assert found == await house.queries.result(run.run_id)
            assert await states.load_execution_result(run.run_id) == await house.states.load_execution_result(
                run.run_id
            )
            await asyncio.sleep(0)


async def test_a_result_is_only_kept_under_its_own_tenant(house: StateHouse) -> None:
    async with CACHES["redis"]() as another:
        cache = await another()
        queries = QueryStore(house.database, cache)
        run = await house.start()
        await house.settle(run, output="secret of default")
        assert await queries.result(run.run_id, tenant="other") is None
        assert await queries.result(run.run_id) is not None
        await wait_until(lambda: _hits(cache, queries, run.run_id), "the result is kept")
        before = cache.counts().hits
        await queries.result(run.run_id, tenant="other")
        assert cache.counts().hits == before


async def _hits(cache: Cache, queries: QueryStore, run_id: str) -> bool:
    await queries.result(run_id)
    return cache.counts().hits > 0


async def test_H6_a_response_url_stays_in_the_database() -> None:
    async with fresh_redis() as url, redis_at(url) as another, Redis.from_url(url) as server:
        with tempfile.TemporaryDirectory() as folder:
            async with open_sqlite(Path(folder)) as database:
                house = await StateHouse(database).open()
                queries = QueryStore(database, await another())
                address = ReplyTo(channel="C1", response_url="https://hooks.slack.com/canary")
                run = await house.start()
                await database.write(lambda connection: _reply(connection, run.run_id, address))
                await house.settle(run, output="done")
                for _ in range(5):
                    assert await queries.result(run.run_id) is not None
                    await asyncio.sleep(0)
                values = [await server.get(name) async for name in server.scan_iter() if b"result" in name]
                assert values == []


STEPS = [
    "save",
    "save",
    "save blindly",
    "save unheard",
    "save unheard",
    "show",
    "show",
    "show",
    "flush",
    "offer late",
    "outage",
]


# Shrinking would begin with real servers again and again.
@settings(max_examples=20, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(steps=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(STEPS), st.booleans()), min_size=15, max_size=40))
async def test_I6_a_load_after_ones_own_save_is_never_older(steps: list[tuple[int, str, bool]]) -> None:
    """Two processes, any interleaving of saves, losses of the cache, and copies that come late."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            fresh_redis() as url,
            redis_at(url, probe_seconds=0.005) as another,
            open_sqlite(Path(folder)) as database,
            Redis.from_url(url) as server,
        ):
            await _played(steps, database, [await another(), await another()], server)


async def _played(steps: list[tuple[int, str, bool]], database: Database, caches: list[Cache], server: Redis) -> None:
    processes = [manager(database, cache) for cache in caches]
    saved = [0, 0]
    read: list[tuple[AgentState, float]] = []
    for who, what, arrives in steps:
        states, cache = processes[who], caches[who]
        if what.startswith("save"):
            seen_at = SystemClock().monotonic()
            state = await states.load_state("echo", "1")
            read.append((state, seen_at))
            saved[who] = await states.save_state(save(state, **({"before": None} if what == "save blindly" else {})))
            if what == "save unheard":
                cache._offers.clear()  # type: ignore[attr-defined]  # lost on its way
        elif what == "show":
            shown = await states.load_state("echo", "1", display=True)
            assert shown.version >= saved[who]
            assert shown.memory == ({"version": shown.version} if shown.version else {})
            assert len(shown.history) == shown.version
        elif what == "flush":
            await server.flushdb()
        elif what == "outage":
            cache._bypass("tried")  # type: ignore[attr-defined]
        elif what == "offer late" and read and read[0][0].version:
            state, seen_at = read[0]
            cache.put_copy("default:state:echo:1", state.version, states._record(state), seen_at=seen_at)
        for cache in caches if arrives else ():
            await wait_until(lambda cache=cache: _at_rest(cache), "what was offered has arrived")  # type: ignore[misc]


async def _at_rest(cache: Any) -> bool:
    return await cache.ping() is None and not cache._offers and await cache.ping() is None


def _reply(connection: Any, run_id: str, address: ReplyTo) -> None:
    connection.execute(runs.update().where(runs.c.run_id == run_id).values(reply_to=address.to_record()))


def test_without_a_cache_nothing_is_made_for_it() -> None:
    NoCache().put_copy("x", 1, lambda: pytest.fail("made"), seen_at=0.0)
    NoCache().keep("x", lambda: pytest.fail("made"))
