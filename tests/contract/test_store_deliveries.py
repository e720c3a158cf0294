"""What an attempt at a message writes down before it goes on."""

from __future__ import annotations

from callboard.messaging.reply import ReplyTo
from callboard.state.deliveries import AttemptOutcome, DeliveryDraft, DeliveryStatus
from callboard.state.delivery_store import DeliveryStore
from tests.support.state_house import StateHouse

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FILE = DeliveryDraft(
    id="f" * 32,
    kind="file",
    target=ReplyTo(channel="C1", thread_ts="1.5", team="T1"),
    trace_id=TRACE,
    run_id="1" * 32,
    body={"artifact": "a" * 32, "name": "a.png"},
)


async def test_what_an_attempt_remembers_is_there_for_whoever_takes_over_and_for_nobody_before(
    house: StateHouse,
) -> None:
    store = DeliveryStore(house.database, house.clock)
    await store.plan([FILE])
    [claimed] = await store.claim("p1", 10)
    known = {**(FILE.body or {}), "file_id": "F1"}
    assert await store.remember(claimed, known)
    await store.release("p1")
    # Let go of, it is nobody's: who comes back writes nothing.
    assert not await store.remember(claimed, {"file_id": "F2"})
    await house.clock.advance(2)
    [taken] = await store.claim("p2", 10)
    assert (taken.body, taken.interrupted, taken.attempt) == (known, True, 2)
    assert not await store.remember(claimed, {"file_id": "F3"})
    assert await store.finish(taken, AttemptOutcome(status=DeliveryStatus.SENT, sent_ts="1.6"))
    assert not await store.remember(taken, {"file_id": "F4"})
    [sent] = await store.of_trace(TRACE)
    assert (sent.body, sent.status) == (known, DeliveryStatus.SENT)
