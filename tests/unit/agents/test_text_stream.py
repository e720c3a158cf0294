"""Text on its way to whoever watches: the first piece at once, the rest in pieces of what has come meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from callboard.agents.engine import OnText
from callboard.agents.text_stream import TextStreams
from callboard.clock import ManualClock
from callboard.errors import FencedError
from callboard.messaging.events import Actor
from callboard.redaction import Redactor
from callboard.state.runs import Lane, Run
from tests.unit.agents.memory_journal import Ledger, MemoryJournal


class _Run:
    run_id = "r"
    actor = Actor(kind="api", id="token")
    lane = Lane.INTERACTIVE
    depth = 0

    def __init__(self, **other: Any) -> None:
        vars(self).update(other)


def _run(**other: Any) -> Run:
    return cast("Run", _Run(**other))


class House:
    def __init__(self, most: int = 2, *secrets: str) -> None:
        self.clock = ManualClock()
        self.woken: list[str] = []
        self.streams = TextStreams(self.clock, self.woken.append, most=most, redactor=Redactor(secrets))

    def stream(self) -> tuple[OnText, MemoryJournal]:
        journal = MemoryJournal(Ledger())
        stream = self.streams.of(_run(), journal)
        assert stream is not None
        return stream, journal

    def speaking(self) -> tuple[OnText, MemoryJournal]:
        """A stream whose first model call has begun."""
        stream, journal = self.stream()
        assert stream.begin()
        return stream, journal


def _texts(journal: MemoryJournal) -> list[tuple[Any, Any]]:
    return [(data["call"], data["text"]) for kind, data in journal.progressed if kind == "text"]


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_first_piece_is_told_at_once_and_the_rest_together() -> None:
    house = House()
    stream, journal = house.speaking()
    await stream("It ")
    await _settle()
    assert _texts(journal) == [(0, "It ")]
    assert house.woken == ["run.progress.r"]
    for piece in ("is ", "warm", "."):
        await stream(piece)
    await _settle()
    assert _texts(journal) == [(0, "It ")]
    await house.clock.advance(0.02)
    await _settle()
    assert _texts(journal) == [(0, "It "), (0, "is warm.")]
    await stream.done()


async def test_what_is_left_is_told_when_the_answer_ends_and_the_next_call_has_its_number() -> None:
    house = House()
    stream, journal = house.speaking()
    await stream("a")
    await stream("b")
    await _settle()
    await stream("c")
    await stream.done()  # without any pause: no time has passed
    assert _texts(journal) == [(0, "ab"), (0, "c")]
    assert stream.begin()
    await stream("d")
    await stream.done()
    assert _texts(journal)[-1] == (1, "d")


async def test_no_more_than_so_many_are_told_at_once() -> None:
    house = House(most=1)
    (first, one), (second, two) = house.stream(), house.stream()
    assert first.begin()
    assert not second.begin()
    await first("a")
    await _settle()
    assert (_texts(one), _texts(two)) == ([(0, "a")], [])
    await first.done()
    assert second.begin()
    await second("c")
    await second.done()
    assert _texts(two) == [(1, "c")]


@pytest.mark.parametrize(
    "other", [{"actor": Actor(kind="user", id="U1", via="slack")}, {"lane": Lane.BATCH}, {"depth": 1}]
)
def test_runs_that_nobody_can_watch_are_not_told_in_pieces(other: dict[str, Any]) -> None:
    assert House().streams.of(_run(**other), MemoryJournal(Ledger())) is None


def test_none_at_all_can_be_set() -> None:
    assert House(most=0).streams.of(_run(), MemoryJournal(Ledger())) is None


async def test_a_run_that_was_taken_away_is_known_when_the_answer_ends() -> None:
    class Fenced(MemoryJournal):
        async def progress(self, kind: str, data: Any) -> None:
            raise FencedError("the run has another owner")

    stream = House().streams.of(_run(), Fenced(Ledger()))
    assert stream is not None
    assert stream.begin()
    await stream("a")
    with pytest.raises(FencedError):
        await stream.done()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
async def test_H6_a_secret_that_comes_in_pieces_is_told_to_nobody(size: int) -> None:
    house = House(2, "xq-geheim-4711")
    stream, journal = house.speaking()
    answer = "The key is xq-geheim-4711, or xq-geheim-5, or xq-"
    for start in range(0, len(answer), size):
        await stream(answer[start : start + size])
        await _settle()
        await house.clock.advance(0.02)
        await _settle()
    await stream.done()
    told = "".join(text for _, text in _texts(journal))
    assert told == "The key is [redacted], or xq-geheim-5, or xq-"


async def test_a_text_without_the_beginning_of_a_secret_is_not_held_back() -> None:
    house = House(2, "xq-geheim-4711")
    stream, journal = house.speaking()
    await stream("It is warm.")
    await _settle()
    assert _texts(journal) == [(0, "It is warm.")]
    await stream.done()
