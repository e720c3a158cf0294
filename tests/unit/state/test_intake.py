"""Rule 3: what the database does not take, the broker keeps; what neither takes is not acknowledged."""

from __future__ import annotations

import asyncio

import pytest

from callboard.clock import SystemClock
from callboard.errors import ConflictError, UnavailableError
from callboard.messaging.events import Actor, Event, EventType
from callboard.state.accepting import Accepted, EventDraft
from callboard.state.intake import Intake


def draft() -> EventDraft:
    event = Event(
        event_id="e1",
        event_type=EventType.SLACK_COMMAND,
        topic="slack.events.command.standup",
        timestamp=SystemClock().now(),
        trace_id="1" * 32,
        actor=Actor(kind="user", id="U1", via="slack"),
        payload={"text": "hello"},
    )
    return EventDraft(event=event, dedupe_keys=("slack:T1:trigger",))


class Broker:
    def __init__(self, *, away: bool = False) -> None:
        self.kept: list[tuple[str, tuple[str, ...]]] = []
        self._away = away

    async def deposit(self, event: Event, dedupe_keys: tuple[str, ...]) -> None:
        if self._away:
            raise UnavailableError("the broker is away")
        self.kept.append((event.event_id, dedupe_keys))


async def takes(given: EventDraft) -> Accepted:
    return Accepted(event_id=given.event.event_id, trace_id=given.event.trace_id, duplicate=False, seq=7)


async def is_away(given: EventDraft) -> Accepted:
    raise UnavailableError("the database is away")


async def hangs(given: EventDraft) -> Accepted:
    await asyncio.Event().wait()
    raise AssertionError


async def knows_another(given: EventDraft) -> Accepted:
    raise ConflictError("the same key with another payload", code="idempotency_conflict")


async def test_while_the_database_answers_the_broker_keeps_nothing() -> None:
    broker = Broker()
    assert (await Intake(takes, broker.deposit).accept(draft())).seq == 7
    assert broker.kept == []


@pytest.mark.parametrize("accept", [is_away, hangs])
async def test_A3_without_the_database_the_broker_keeps_the_event_with_its_dedupe_keys(accept: object) -> None:
    broker, given = Broker(), draft()
    accepted = await Intake(accept, broker.deposit, database_seconds=0.01).accept(given)  # type: ignore[arg-type]  # one of the functions above
    assert (accepted.event_id, accepted.duplicate) == (given.event.event_id, False)
    assert broker.kept == [(given.event.event_id, given.dedupe_keys)]


async def test_A3_without_both_nothing_is_accepted() -> None:
    with pytest.raises(UnavailableError, match="the broker is away"):
        await Intake(is_away, Broker(away=True).deposit).accept(draft())


async def test_a_refusal_is_no_reason_to_ask_the_broker() -> None:
    broker = Broker()
    with pytest.raises(ConflictError):
        await Intake(knows_another, broker.deposit).accept(draft())
    assert broker.kept == []
