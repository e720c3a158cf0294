"""Accepting: an event is stored once under all of its keys, whoever delivers it and however often (R1, R7, C7)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from callboard.errors import ConflictError
from callboard.state.models import dedupe_keys, events, outbox
from tests.support.state_house import StateHouse


async def test_an_accepted_event_is_stored_with_its_outbox_row_and_told(house: StateHouse) -> None:
    event = house.event(text="ü", nested={"a": [1, None]})
    accepted = await house.accept(event, "k1")
    assert (accepted.event_id, accepted.duplicate) == (event.event_id, False)
    assert [row["event_seq"] for row in await house.rows(outbox)] == [accepted.seq]
    stored = await house.queries.event(event.event_id)
    assert stored is not None
    assert stored.event == event
    assert house.announced.events == [event]


@pytest.mark.parametrize("key", ["k1", "k2"])
async def test_A4_a_repetition_under_any_of_its_keys_is_answered_with_the_first(house: StateHouse, key: str) -> None:
    first = await house.accept(house.event(), "k1", "k2")
    again = await house.accept(house.event(), "other", key)
    assert again == replace(first, duplicate=True)
    assert len(await house.rows(events)) == 1
    assert len(house.announced.events) == 1


async def test_the_same_event_again_is_a_repetition(house: StateHouse) -> None:
    event = house.event()
    first = await house.accept(event)
    assert await house.accept(event) == replace(first, duplicate=True)
    assert len(await house.rows(outbox)) == 1


async def test_C7_an_event_id_with_another_payload_is_refused_and_not_merged(house: StateHouse) -> None:
    event = house.event(text="first")
    await house.accept(event)
    with pytest.raises(ConflictError) as refused:
        await house.accept(replace(event, payload={"text": "second"}))
    assert refused.value.code == "event_id_conflict"
    stored = await house.queries.event(event.event_id)
    assert stored is not None
    assert stored.event.payload["text"] == "first"


async def test_C7_ten_duplicates_at_once_are_one_event(house: StateHouse) -> None:
    drafts = [house.event(n=1) for _ in range(10)]
    answers = await asyncio.gather(*(house.accept(event, "slack:T1:C1:1.5") for event in drafts))
    assert len({answer.event_id for answer in answers}) == 1
    assert sorted(answer.duplicate for answer in answers) == [False] + [True] * 9
    assert len(await house.rows(events)) == 1


async def test_the_same_event_many_times_at_once_is_stored_once(house: StateHouse) -> None:
    event = house.event()
    answers = await asyncio.gather(*(house.accept(event, "k") for _ in range(10)))
    assert [answer.duplicate for answer in answers].count(False) == 1
    assert len(await house.rows(events)) == len(await house.rows(outbox)) == 1


async def test_a_key_with_another_body_is_refused_and_says_so(house: StateHouse) -> None:
    await house.accept(house.event(), "api:1", digest="a" * 64)
    with pytest.raises(ConflictError, match="'api:1'") as refused:
        await house.accept(house.event(), "api:1", digest="b" * 64)
    assert refused.value.code == "idempotency_conflict"
    assert len(await house.rows(events)) == 1


async def test_a_conflict_fails_only_its_own_caller(house: StateHouse) -> None:
    """Accepts that wait together share one statement; a refused one must not take its neighbours with it."""
    await house.accept(house.event(), "api:1", digest="a" * 64)
    wrong = house.accept(house.event(), "api:1", digest="b" * 64)
    good = [house.accept(house.event(), f"api:{n}") for n in range(2, 12)]
    answers = await asyncio.gather(*good[:5], wrong, *good[5:], return_exceptions=True)
    assert isinstance(answers.pop(5), ConflictError)
    assert not [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(await house.rows(events)) == 11


async def test_keys_of_two_tenants_never_meet(house: StateHouse) -> None:
    first = await house.accept(house.event(), "k")
    other = await house.accept(replace(house.event(), tenant="other"), "k")
    assert not other.duplicate
    assert other.event_id != first.event_id


async def test_a_key_that_is_named_twice_is_one_key(house: StateHouse) -> None:
    await house.accept(house.event(), "k", "k")
    assert len(await house.rows(dedupe_keys)) == 1


async def test_events_get_their_places_in_the_order_of_acceptance(house: StateHouse) -> None:
    wanted = [house.event(n=n) for n in range(50)]
    accepted = await asyncio.gather(*(house.accept(event) for event in wanted))
    seqs = [answer.seq for answer in accepted]
    assert seqs == sorted(seqs)
    assert len(set(seqs)) == 50
