"""Payloads at the edges where their form changes, through every tier: codec, database, cache (D4)."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from backports import zstd
from sqlalchemy import update

from callboard.clock import SystemClock
from callboard.errors import InvalidInputError, TooLargeError
from callboard.state.agent_state import StateSave
from callboard.state.codec import COMPRESS_OVER_BYTES, MAX_DECODED_BYTES, encode
from callboard.state.models import agent_states, run_io
from callboard.state.query_store import QueryStore
from callboard.state.state_manager import StateManager
from tests.contract.caches import CACHES
from tests.support.state_house import StateHouse

MIB = 1024 * 1024
EDGES = [0, 1, *(edge + off for edge in (COMPRESS_OVER_BYTES, MIB) for off in (-1, 0, 1)), 2 * MIB]


def payload(size: int, *, random: bool) -> dict[str, Any]:
    """Of so many bytes as JSON, where that can be."""
    room = max(0, size - len(b'{"text":""}'))
    text = secrets.token_urlsafe(room)[:room] if random else "a" * room
    return {"text": text}


@pytest.mark.slow
@pytest.mark.parametrize("random", [False, True], ids=["repetitive", "random"])
async def test_D4_payloads_at_the_edges_come_back_equal(house: StateHouse, random: bool) -> None:
    async with CACHES["redis"]() as another:
        cache = await another()
        states = StateManager(house.database, house.store, SystemClock(), cache)
        queries = QueryStore(house.database, cache)
        for number, size in enumerate(EDGES):
            memory = payload(size, random=random)
            before = await states.load_state("echo", str(number))
            await states.save_state(
                StateSave(
                    agent="echo",
                    conversation_id=str(number),
                    expected=0,
                    memory=memory,
                    appended=(memory,),
                    turns=1,
                    before=before,
                )
            )
            run = await house.start(input=memory)
            await house.settle(run, output=memory, messages=(memory,))
            for _ in range(3):
                for display in (False, True):
                    state = await states.load_state("echo", str(number), display=display)
                    assert (state.memory, state.history) == (memory, (memory,))
                result = await queries.result(run.run_id)
                assert result is not None
                assert (result.input, result.output) == (memory, memory)
                await cache.ping()
        assert cache.counts().hits > 0


@pytest.mark.slow
async def test_D4_a_bomb_in_the_database_is_refused_by_its_size_and_hurts_nobody_else(house: StateHouse) -> None:
    bomb = b"Z" + zstd.compress(b'"' + b"a" * (MAX_DECODED_BYTES + 1) + b'"', level=1)
    assert len(bomb) < MIB
    save = StateSave(agent="echo", conversation_id="1", expected=0, memory={}, appended=(), turns=1)
    await house.states.save_state(save)
    run = await house.start()
    await house.settle(run, output="fine")
    await house.database.write(lambda connection: connection.execute(update(agent_states).values(memory=bomb)))
    await house.database.write(lambda connection: connection.execute(update(run_io).values(output=bomb)))
    with pytest.raises(TooLargeError, match="once decompressed"):
        await house.states.load_state("echo", "1")
    with pytest.raises(TooLargeError, match="once decompressed"):
        await house.queries.result(run.run_id)
    await house.database.ping()
    assert (await house.states.load_state("echo", "2")).version == 0


@pytest.mark.slow
async def test_D4_over_the_limit_nothing_is_stored_and_the_old_version_stands(house: StateHouse) -> None:
    save = StateSave(agent="echo", conversation_id="1", expected=0, memory={"k": 1}, appended=(), turns=1)
    await house.states.save_state(save)
    too_large = {"text": "a" * (MAX_DECODED_BYTES + 1)}
    with pytest.raises(TooLargeError):
        await house.states.save_state(
            StateSave(agent="echo", conversation_id="1", expected=1, memory=too_large, appended=("m",), turns=2)
        )
    state = await house.states.load_state("echo", "1")
    assert (state.version, state.memory, state.history) == (1, {"k": 1}, ())


async def test_D4_zero_bytes_in_texts_come_back_and_what_json_has_no_form_for_is_refused(house: StateHouse) -> None:
    odd = {"nul": "a\x00b", "\x00": ["\u2028", "\U0001f600", -0.0, 2**53]}
    save = StateSave(agent="echo", conversation_id="1", expected=0, memory=odd, appended=(odd,), turns=1)
    await house.states.save_state(save)
    state = await house.states.load_state("echo", "1")
    assert (state.memory, state.history) == (odd, (odd,))
    for wrong in (float("nan"), float("inf"), "\ud800", b"bytes"):
        with pytest.raises(InvalidInputError):
            encode({"k": wrong})
