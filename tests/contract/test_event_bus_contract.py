"""The bus: at least once to every bound queue, again after a failure, to the dead letters in the end (C5, C6, C7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from callboard.clock import ManualClock
from callboard.errors import UnavailableError
from callboard.messaging.delivery import Delivery, Queue, RejectDelivery, Undeliverable
from callboard.messaging.event_bus import EventBus
from callboard.messaging.events import Actor, Event, EventType
from callboard.messaging.topology import INBOX
from tests.contract.event_buses import BUSES, STEP, OpenedBus
from tests.support.rabbit_bus import until_it_carries
from tests.support.waiting import wait_until


@dataclass(eq=False)
class Letters:
    """The dead letters; can be away, like a database."""

    kept: list[Undeliverable] = field(default_factory=list)
    away: int = 0

    async def keep(self, letter: Undeliverable) -> None:
        if self.away:
            self.away -= 1
            raise UnavailableError("the disk is full")
        self.kept.append(letter)


@dataclass(eq=False)
class Hearer:
    """A handler that keeps what it heard and fails as often as it is told, or waits until it is let go."""

    failures: list[BaseException] = field(default_factory=list)
    heard: list[Delivery] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def __call__(self, delivery: Delivery) -> None:
        self.heard.append(delivery)
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.done.append(delivery.event.event_id)

    @property
    def counts(self) -> list[int]:
        return [delivery.deliveries for delivery in self.heard]


@dataclass(eq=False)
class BusHouse:
    opened: OpenedBus
    letters: Letters

    @property
    def bus(self) -> EventBus:
        return self.opened.bus

    def hearer(self, *patterns: str, name: str = "q", max_deliveries: int = 5) -> Hearer:
        hearer = Hearer()
        self.bus.subscribe(
            Queue(
                name=name,
                patterns=patterns or ("#",),
                max_deliveries=max_deliveries,
                retry_seconds=self.opened.retry_seconds,
            ),
            hearer,
        )
        return hearer

    async def publish(self, published: Event) -> asyncio.Future[None]:
        """Once every queue is bound, so that none misses it."""
        if not self.opened.answers_when_handled:
            await until_it_carries(self.bus)
        return self.bus.publish(published)

    async def later(self, seconds: float) -> None:
        await self.opened.time.passes(seconds)


@pytest.fixture(
    params=[pytest.param(name, marks=() if name == "local" else pytest.mark.slow) for name in sorted(BUSES)]
)
async def house(request: pytest.FixtureRequest) -> AsyncIterator[BusHouse]:
    letters = Letters()
    async with BUSES[request.param](letters.keep) as opened:
        yield BusHouse(opened, letters)


def in_one_process_only(house: BusHouse) -> None:
    """The port says what holds in one process alone: there the answer comes when the handlers are done."""
    if not house.opened.answers_when_handled:
        pytest.skip("the broker answers when it has the event, and keeps it")


def event(topic: str = "run.succeeded.echo", event_id: str = "e1") -> Event:
    return Event(
        event_id=event_id,
        event_type=EventType.RUN_STATUS,
        topic=topic,
        timestamp=ManualClock().now(),
        trace_id="a" * 32,
        actor=Actor(kind="system", id="test"),
        payload={"text": "ü"},
    )


async def answered(future: asyncio.Future[None]) -> None:
    async with asyncio.timeout(30):
        await future


async def test_an_event_reaches_each_queue_that_is_bound_to_its_topic_once(house: BusHouse) -> None:
    one = house.hearer("run.*.echo", "run.#", name="one")
    two = house.hearer("run.succeeded.*", name="two")
    other = house.hearer("run.failed.*", name="other")
    await answered(await house.publish(event()))
    await wait_until(lambda: one.heard and two.heard, "both have it")
    assert [delivery.event for delivery in one.heard] == [event()]
    assert (one.counts, two.counts, other.counts) == ([1], [1], [])
    assert two.heard[0].queue == "two"


@pytest.mark.parametrize(
    ("pattern", "topic", "meant"),
    [
        ("#", "a.b.c", True),
        ("a.#", "a", True),
        ("a.#", "ab", False),
        ("a.*", "a", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("*.b.#", "a.b", True),
        ("a.#.z", "a.z", True),
        ("a.#.z", "a.b.c.z", True),
        ("a.#.z", "a.b.c", False),
        ("a.b", "a.b", True),
        ("a.b", "A.b", False),
    ],
)
async def test_patterns_mean_what_a_topic_exchange_means(
    house: BusHouse, pattern: str, topic: str, meant: bool
) -> None:
    hearer, marker = house.hearer(pattern), house.hearer(name="marker")
    await answered(await house.publish(event(topic)))
    await answered(await house.publish(event(topic, event_id="e2")))
    await wait_until(lambda: len(marker.heard) == 2 and (hearer.heard or not meant), "whoever is bound has it")
    assert bool(hearer.heard) is meant


async def test_publish_ends_when_every_handler_is_done(house: BusHouse) -> None:
    in_one_process_only(house)
    fast, slow = house.hearer(name="fast"), house.hearer(name="slow")
    slow.gate = asyncio.Event()
    answer = await house.publish(event())
    await wait_until(lambda: fast.done and slow.heard, "both have it")
    assert not answer.done()
    slow.gate.set()
    await answered(answer)
    assert slow.done == ["e1"]


async def test_an_event_that_nobody_is_bound_to_is_answered_at_once(house: BusHouse) -> None:
    house.hearer("other.#")
    await answered(await house.publish(event()))


async def test_a_failed_delivery_comes_again_after_1_5_and_30_seconds(house: BusHouse) -> None:
    in_one_process_only(house)
    hearer = house.hearer(max_deliveries=6)
    hearer.failures = [ValueError("no")] * 5
    answer = await house.publish(event())
    await house.later(0)
    for pause, count in ((1, 2), (5, 3), (30, 4), (30, 5), (30, 6)):
        await house.later(pause - STEP)
        assert hearer.counts[-1] == count - 1
        await house.later(STEP)
        assert hearer.counts[-1] == count
    await answered(answer)


async def test_a_failed_delivery_comes_again_counted_until_it_succeeds(house: BusHouse) -> None:
    hearer = house.hearer(max_deliveries=6)
    hearer.failures = [ValueError("no")] * 5
    answer = await house.publish(event())
    if house.opened.answers_when_handled:
        await house.later(100)
    await answered(answer)
    await wait_until(lambda: hearer.done == ["e1"], "it succeeded")
    assert hearer.counts == [1, 2, 3, 4, 5, 6]
    assert [delivery.event.retry_count for delivery in hearer.heard] == [0, 1, 2, 3, 4, 5]
    assert house.letters.kept == []


async def test_a_delivery_that_pauses_holds_up_no_other(house: BusHouse) -> None:
    hearer = house.hearer()
    hearer.failures = [ValueError("no")]
    first = await house.publish(event())
    await answered(await house.publish(event(event_id="e2")))
    await wait_until(lambda: hearer.done == ["e2"], "the second is through")
    await house.later(1)
    await answered(first)
    await wait_until(lambda: hearer.done == ["e2", "e1"], "the first is through")


async def test_C5_after_the_last_delivery_it_is_a_dead_letter_with_its_reason(house: BusHouse) -> None:
    hearer = house.hearer(max_deliveries=3)
    hearer.failures = [ValueError("broken")] * 9
    answer = await house.publish(event())
    if house.opened.answers_when_handled:
        await house.later(100)
    await answered(answer)
    await wait_until(lambda: house.letters.kept, "it is a dead letter")
    (letter,) = house.letters.kept
    assert hearer.counts == [1, 2, 3]
    assert letter.deliveries == 3
    assert "ValueError: broken" in letter.reason
    assert (letter.queue, letter.topic, letter.event_id, letter.trace_id) == ("q", event().topic, "e1", "a" * 32)
    assert replace(Event.from_json(letter.body), retry_count=0) == event()


async def test_a_rejected_delivery_is_a_dead_letter_at_once(house: BusHouse) -> None:
    hearer = house.hearer()
    hearer.failures = [RejectDelivery("not for me")]
    await answered(await house.publish(event()))
    await wait_until(lambda: house.letters.kept, "it is a dead letter")
    assert hearer.counts == [1]
    assert [letter.reason for letter in house.letters.kept] == ["not for me"]


async def test_a_poisonous_event_holds_up_no_other(house: BusHouse) -> None:
    hearer = house.hearer(max_deliveries=1)
    hearer.failures = [ValueError("poison")]
    answers = [await house.publish(event(event_id=f"e{n}")) for n in range(5)]
    await asyncio.gather(*map(answered, answers))
    await wait_until(lambda: hearer.done == ["e1", "e2", "e3", "e4"], "all others are through")


async def test_an_outage_counts_nothing(house: BusHouse) -> None:
    hearer = house.hearer(max_deliveries=2)
    times = 20 if house.opened.answers_when_handled else 3
    hearer.failures = [UnavailableError("database away")] * times
    answer = await house.publish(event())
    await house.later(0)
    for _ in range(times):
        await house.later(1)
    await answered(answer)
    await wait_until(lambda: hearer.done == ["e1"], "it is through")
    assert hearer.counts == [1] * (times + 1)
    assert house.letters.kept == []


@pytest.mark.parametrize("failure", [RejectDelivery("no"), ValueError("no")])
async def test_C6_a_dead_letter_that_cannot_be_kept_yet_is_not_lost(house: BusHouse, failure: Exception) -> None:
    hearer = house.hearer(max_deliveries=1)
    house.letters.away = 2
    hearer.failures = [failure]
    if house.opened.answers_when_handled:
        hearer.failures *= 3
    answer = await house.publish(event())
    await house.later(0)
    assert house.letters.kept == []
    await house.later(1)
    await house.later(1)
    await answered(answer)
    await wait_until(lambda: house.letters.kept, "it is kept after all")
    await answered(await house.publish(event(event_id="e2")))
    await wait_until(lambda: hearer.done == ["e2"], "the next is through")
    assert len(house.letters.kept) == 1


async def test_C7_a_duplicate_is_delivered_as_the_same_event(house: BusHouse) -> None:
    hearer = house.hearer()
    await answered(await house.publish(event()))
    await answered(await house.publish(event()))
    await wait_until(lambda: len(hearer.heard) == 2, "both came")
    assert [delivery.event.event_id for delivery in hearer.heard] == ["e1", "e1"]


async def test_a_queue_has_one_handler(house: BusHouse) -> None:
    house.hearer(name="mine")
    with pytest.raises(ValueError, match="'mine'"):
        house.hearer(name="mine")


async def test_close_lets_running_handlers_finish_and_answers_for_nothing_else(house: BusHouse) -> None:
    in_one_process_only(house)
    hearer = house.hearer()
    hearer.gate = asyncio.Event()
    running, waiting = await house.publish(event()), await house.publish(event(event_id="e2"))
    await wait_until(lambda: hearer.heard, "the first is being handled")
    closing = asyncio.ensure_future(house.bus.close())
    await asyncio.sleep(0)
    hearer.gate.set()
    await asyncio.wait_for(closing, 30)
    await answered(running)
    assert hearer.done == ["e1"]
    with pytest.raises(UnavailableError, match="closed"):
        await answered(waiting)


async def test_close_does_not_wait_for_ever(house: BusHouse) -> None:
    in_one_process_only(house)
    hearer = house.hearer()
    hearer.gate = asyncio.Event()
    answer = await house.publish(event())
    await wait_until(lambda: hearer.heard, "it is being handled")
    closing = asyncio.ensure_future(house.bus.close())
    await house.later(0)
    await house.later(5)
    await asyncio.wait_for(closing, 30)
    with pytest.raises(UnavailableError):
        await answered(answer)


async def test_close_forgets_what_pauses_and_says_so(house: BusHouse) -> None:
    in_one_process_only(house)
    hearer = house.hearer()
    hearer.failures = [ValueError("no")]
    answer = await house.publish(event())
    await house.later(0)
    await house.bus.close()
    with pytest.raises(UnavailableError):
        await answered(answer)


async def test_a_closed_bus_carries_nothing(house: BusHouse) -> None:
    await house.bus.ping()
    await house.bus.close()
    with pytest.raises(UnavailableError, match="closed"):
        await house.bus.ping()
    with pytest.raises(UnavailableError, match="closed"):
        await answered(house.bus.publish(event()))


async def test_what_was_not_acked_comes_again_when_it_is_published_again(house: BusHouse) -> None:
    hearer = house.hearer()
    await house.bus.close()
    await house.bus.start()
    await answered(await house.publish(event()))
    await wait_until(lambda: hearer.done == ["e1"], "it is through")


async def test_deposits_are_for_a_bus_that_outlives_its_processes(house: BusHouse) -> None:
    if house.opened.answers_when_handled:
        with pytest.raises(UnavailableError):
            await house.bus.deposit(event(), ("key",))
        return
    inbox = house.hearer(name=INBOX)
    await until_it_carries(house.bus)
    await house.bus.deposit(event(), ("key",))
    await wait_until(lambda: inbox.done == ["e1"], "it came out of the inbox")


class TestWakeUps:
    """They say that there may be work, never how much."""

    async def test_an_event_and_a_signal_wake_whoever_listens_to_the_topic(self, house: BusHouse) -> None:
        wake, other = house.bus.listen(["run.requested.#"]), house.bus.listen(["config.#"])
        for listener in (wake, other):
            await listener.wait()  # the first wait never blocks
        house.bus.signal("run.requested.autonomous.batch")
        await asyncio.wait_for(wake.wait(), 30)
        await house.publish(event("run.requested.x.y"))
        await asyncio.wait_for(wake.wait(), 30)
        sleeping = asyncio.ensure_future(other.wait())
        await house.later(0)
        assert not sleeping.done()
        sleeping.cancel()

    async def test_two_wake_ups_are_one(self, house: BusHouse) -> None:
        wake = house.bus.listen(["a"])
        house.bus.signal("a")
        house.bus.signal("a")
        await asyncio.wait_for(wake.wait(), 30)
        again = asyncio.ensure_future(wake.wait())
        await house.later(0)
        assert not again.done()
        again.cancel()

    async def test_who_wants_events_alone_hears_no_signal(self, house: BusHouse) -> None:
        wake = house.bus.listen(["#"], signals=False)
        await wake.wait()
        house.bus.signal("run.requested.a.b")
        waiting = asyncio.ensure_future(wake.wait())
        await house.later(0)
        assert not waiting.done()
        await house.publish(event())
        await asyncio.wait_for(waiting, 30)

    async def test_a_poll_wakes_for_what_was_lost(self, house: BusHouse) -> None:
        wake = house.bus.listen(["a"])
        await wake.wait()
        poll = asyncio.ensure_future(wake.poll(house.opened.time.clock, 1.0))
        await house.later(0)
        for _ in range(3):
            waiting = asyncio.ensure_future(wake.wait())
            await house.later(1)
            assert waiting.done()
        poll.cancel()
