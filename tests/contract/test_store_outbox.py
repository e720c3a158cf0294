"""The outbox and the dead letters: what is stored is told, also after a crash, until the bus has answered (R17, C6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from callboard.errors import ConflictError, InvalidInputError, NotFoundError
from callboard.messaging.delivery import Undeliverable
from callboard.messaging.events import Event
from callboard.state.dead_letter_store import DeadLetterStore
from callboard.state.models import events, operations, outbox
from callboard.state.sql.outbox import delete_told, release_all, take_due
from tests.support.state_house import TESS, StateHouse

FIVE = timedelta(seconds=5)


async def due(house: StateHouse, limit: int = 500) -> Sequence[str]:
    now = house.clock.now()
    taken = await house.database.write(lambda c: take_due(c, now, FIVE, limit))
    return [stored.event.event_id for stored in taken]


async def test_a_fresh_event_is_left_to_its_own_process_for_five_seconds(house: StateHouse) -> None:
    accepted = await house.accept(house.event())
    assert await due(house) == []
    await house.later(seconds=5)
    assert await due(house) == [accepted.event_id]


async def test_what_is_taken_is_left_to_that_relay_and_comes_again_if_nobody_confirms(house: StateHouse) -> None:
    accepted = await house.accept(house.event())
    await house.later(seconds=5)
    assert await due(house) == [accepted.event_id]
    assert await due(house) == []
    await house.later(seconds=5)
    assert await due(house) == [accepted.event_id]


async def test_due_events_come_in_the_order_of_acceptance_and_in_bounded_portions(house: StateHouse) -> None:
    wanted = [(await house.accept(house.event())).event_id for _ in range(5)]
    await house.later(seconds=5)
    assert [*await due(house, 3), *await due(house, 3), *await due(house, 3)] == wanted


async def test_what_the_bus_has_answered_for_is_forgotten(house: StateHouse) -> None:
    first, second = [await house.accept(house.event()) for _ in range(2)]
    await house.database.write(lambda c: delete_told(c, [first.seq]))
    await house.later(seconds=5)
    assert await due(house) == [second.event_id]
    assert len(await house.rows(events)) == 2


async def test_after_a_crash_everything_untold_is_due_at_once(house: StateHouse) -> None:
    accepted = await house.accept(house.event())
    now = house.clock.now()
    await house.database.write(lambda c: release_all(c, now))
    assert await due(house) == [accepted.event_id]


class TestDeadLetters:
    """What nobody could handle is kept with the reason and can be sent again, once (I13)."""

    @staticmethod
    def letters(house: StateHouse) -> DeadLetterStore:
        return DeadLetterStore(house.database, house.announced, house.clock)

    @staticmethod
    def of(event: Event, body: bytes | None = None) -> Undeliverable:
        return Undeliverable(
            queue="inbox",
            topic=event.topic,
            body=event.to_json() if body is None else body,
            reason="ValueError: no",
            deliveries=5,
            event_id=event.event_id if body is None else None,
            trace_id=event.trace_id,
        )

    async def test_a_letter_keeps_the_bytes_the_reason_and_the_trace(self, house: StateHouse) -> None:
        letters = self.letters(house)
        event = house.event()
        await letters.keep(self.of(event))
        (kept,) = await letters.letters("default")
        assert (kept.body, kept.reason, kept.deliveries) == (event.to_json(), "ValueError: no", 5)
        assert (kept.trace_id, kept.event_id, kept.queue, kept.status) == (
            event.trace_id,
            event.event_id,
            "inbox",
            "kept",
        )
        assert await letters.count() == 1
        assert await letters.letter(kept.id) == kept

    async def test_a_letter_that_is_kept_twice_is_one(self, house: StateHouse) -> None:
        letters, event = self.letters(house), house.event()
        await letters.keep(self.of(event))
        await letters.keep(self.of(event))
        assert await letters.count() == 1

    async def test_requeue_tells_the_stored_event_once_more_with_its_own_times(self, house: StateHouse) -> None:
        letters, event = self.letters(house), house.event(text="x")
        accepted = await house.accept(event)
        await house.database.write(lambda c: delete_told(c, [accepted.seq]))
        await letters.keep(self.of(event))
        await house.later(hours=1)
        (kept,) = await letters.letters("default")
        house.announced.events.clear()
        closed = await letters.requeue(kept.id, TESS)
        assert closed.status == "requeued"
        assert house.announced.events == [event]
        assert len(await house.rows(events)) == 1
        assert len(await house.rows(outbox)) == 1
        assert [row["action"] for row in await house.rows(operations)] == ["deadletter.requeue"]
        with pytest.raises(ConflictError, match="requeued"):
            await letters.requeue(kept.id, TESS)

    async def test_requeue_stores_an_event_that_never_was(self, house: StateHouse) -> None:
        letters, event = self.letters(house), house.event()
        await letters.keep(self.of(event))
        (kept,) = await letters.letters("default")
        await letters.requeue(kept.id, TESS)
        assert len(await house.rows(events)) == 1
        assert (await house.route()).runs == 1

    async def test_an_event_that_fails_again_is_a_letter_of_its_own(self, house: StateHouse) -> None:
        letters, event = self.letters(house), house.event()
        await letters.keep(self.of(event))
        (kept,) = await letters.letters("default")
        await letters.requeue(kept.id, TESS)
        await house.later(seconds=1)
        await letters.keep(replace(self.of(event), reason="again"))
        assert [letter.reason for letter in await letters.letters("default")] == ["again"]

    @pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[]", b'{"event_id": 3}', b"\x1f\x8b\x08"])
    async def test_C5_bytes_that_are_no_event_are_kept_and_can_only_be_dropped(
        self, house: StateHouse, body: bytes
    ) -> None:
        letters = self.letters(house)
        await letters.keep(self.of(house.event(), body=body))
        (kept,) = await letters.letters("default")
        assert kept.body == body
        with pytest.raises(InvalidInputError, match="dropped"):
            await letters.requeue(kept.id, TESS)
        assert (await letters.letter(kept.id)).status == "kept"
        assert (await letters.drop(kept.id, TESS)).status == "dropped"
        assert await letters.count() == 0
        with pytest.raises(ConflictError):
            await letters.drop(kept.id, TESS)

    async def test_a_letter_that_is_not_there(self, house: StateHouse) -> None:
        letters = self.letters(house)
        for verb in (letters.requeue, letters.drop):
            with pytest.raises(NotFoundError, match="nothere"):
                await verb("nothere", TESS)
