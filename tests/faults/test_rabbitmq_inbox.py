"""The inbox over RabbitMQ: other systems' events in, poison out, dead letters back, everything once (C5, C6, C7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from callboard.clock import SystemClock
from callboard.errors import ConflictError, UnavailableError
from callboard.ids import SequentialIds
from callboard.messaging.delivery import Queue, Undeliverable
from callboard.messaging.events import Actor
from callboard.messaging.rabbitmq import RabbitEventBus, frames
from callboard.messaging.topology import EXCHANGE, HEADER_ORIGIN, INBOX
from callboard.orchestrator.ingress import Ingress
from callboard.state.dead_letter_store import DeadLetterStore
from callboard.state.models import events
from callboard.state.outbox import Outbox
from callboard.state.store import Store
from tests.support.pool_house import catalog_of, definition
from tests.support.rabbit_bus import event, until_it_carries
from tests.support.servers.fresh_vhost import fresh_vhost
from tests.support.sqlite_file import open_sqlite
from tests.support.state_house import StateHouse
from tests.support.waiting import let_pass, wait_until

pytestmark = pytest.mark.slow

OPERATOR = Actor(kind="user", id="tess", via="cli")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Office:
    """An orchestrator's inbox and an event-bus role in one, over a real broker and a real database."""

    def __init__(self, url: str, house: StateHouse) -> None:
        self.house = house
        self.clock = SystemClock()
        self.away = False
        self.bus = RabbitEventBus(
            url, self.clock, process_id="office", dead_letter=self.keep, declares=True, close_seconds=0.5
        )
        self.outbox = Outbox(house.database, self.bus, self.clock)
        self.letters = DeadLetterStore(house.database, self.outbox, self.clock)
        self.store = Store(house.database, self.outbox, self.clock)
        self.catalog = catalog_of(definition("echo"), definition("shop", subscriptions=["orders.#"]))
        self.ingress = Ingress(self.store, lambda: self.catalog, self.clock, SequentialIds())
        self.ingress.consume_from(self.bus)
        self.kept_twice = False

    async def keep(self, letter: Undeliverable) -> None:
        if self.away:
            raise UnavailableError("the database is away")
        await self.letters.keep(letter)
        if self.kept_twice:
            self.kept_twice = False
            raise UnavailableError("it died between keeping and acking")

    async def send(self, body: bytes, topic: str = "orders.created", **properties: Any) -> None:
        """As another system publishes."""
        headers = properties.pop("headers", {})
        encoded = frames.properties(frames.table(headers), **{"content_type": "application/json", **properties})
        await self.bus._publisher.publish(EXCHANGE, topic, encoded, body)

    async def stored(self) -> list[str]:
        return sorted(row["event_id"] for row in await self.house.rows(events))

    async def until_stored(self, *event_ids: str) -> None:
        async def so() -> bool:
            return await self.stored() == sorted(event_ids)

        await wait_until(so, f"{event_ids} are stored, and nothing else")

    async def until_letters(self, count: int) -> list[Any]:
        async def so() -> bool:
            return await self.letters.count() == count

        await wait_until(so, f"{count} dead letters")
        return list(await self.letters.letters("default"))


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with fresh_vhost() as url, open_sqlite(tmp_path) as database:
        opened = Office(url, await StateHouse(database).open())
        await opened.bus.start()
        try:
            await until_it_carries(opened.bus)
            yield opened
        finally:
            await opened.bus.close()


def foreign(event_id: str | None = "f1", **parts: Any) -> bytes:
    record = {"payload": {"text": "hi"}, **({} if event_id is None else {"event_id": event_id}), **parts}
    return orjson.dumps(record)


async def test_an_event_of_another_system_is_stored_with_its_trace(office: Office) -> None:
    await office.send(foreign(), headers={"traceparent": f"00-{TRACE}-{'1' * 16}-01"})
    await office.until_stored("f1")
    (row,) = await office.house.rows(events)
    assert (row["topic"], row["trace_id"], row["hops"]) == ("orders.created", TRACE, 1)
    assert (await office.house.route()).events == 1


async def test_our_own_events_never_come_back_to_us(office: Office) -> None:
    await office.bus.publish(event("ours"))
    await office.send(foreign("theirs"))
    await office.until_stored("theirs")


async def test_other_systems_hear_our_events_once_and_theirs_not_again(office: Office) -> None:
    heard: list[str] = []

    async def hear(message: Any) -> None:
        heard.append(orjson.loads(message.body)["event_id"])

    office.bus.consume(Queue(name="partner", patterns=("orders.#",)), hear)
    await until_it_carries(office.bus)
    await office.send(foreign("theirs"))
    await office.until_stored("theirs")
    await office.bus.publish(event("ours"))
    await wait_until(lambda: "ours" in heard, "ours came")
    assert sorted(heard) == ["ours", "theirs"]


async def test_what_nobody_subscribes_to_is_dropped_and_counted(office: Office) -> None:
    await office.send(foreign("x1"), topic="weather.changed")
    await office.send(foreign("x2"))
    await office.until_stored("x2")
    await wait_until(lambda: office.ingress.dropped == 1, "it is counted")
    assert await office.letters.count() == 0


async def test_a_deposit_becomes_the_same_event_under_its_keys(office: Office) -> None:
    deposited = event("d1", topic="slack.events.command.x", conversation_id="c")
    await office.bus.deposit(deposited, ("slack:T:C:1",))
    await office.bus.deposit(deposited, ("slack:T:C:1",))
    await office.bus.deposit(event("d2", topic="slack.events.command.x"), ("slack:T:C:1",))
    await office.until_stored("d1")
    await wait_until(lambda: office.ingress.accepted == 3, "all three were met")
    assert await office.stored() == ["d1"]
    assert await office.letters.count() == 0


POISON: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "invalid JSON": (b"{not json", {}, "not JSON"),
    "wrong schema": (b'{"foo": 1}', {}, "payload"),
    "unknown version": (foreign("v9", schema_version=99), {}, "schema version 99"),
    "unknown agent": (foreign("a1"), {"topic": "agent.input.nobody"}, "no agent 'nobody'"),
    "too large": (foreign("big", more="x" * 1_100_000), {}, "1048576"),
    "wrong content type": (foreign("c1"), {"content_type": "text/xml"}, "text/xml"),
    "too many hops": (foreign("h1", hops=20), {}, "answer each other"),
    "gzip": (b"\x1f\x8b\x08\x00", {}, "not JSON"),
    "not UTF-8": (b"\xff\xfe\x00", {}, "not JSON"),
    "empty": (b"", {}, "not JSON"),
    "deep": (b"[" * 100_000, {}, "not JSON"),
}


async def test_C5_poison_is_a_dead_letter_with_its_reason_and_everything_else_flows(office: Office) -> None:
    for number, (body, how, _) in enumerate(POISON.values()):
        await office.send(body, headers={"traceparent": f"00-{TRACE}-{'1' * 16}-01"}, **how)
        await office.send(foreign(f"good{number}"))
    await office.until_stored(*(f"good{number}" for number in range(len(POISON))))
    letters = await office.until_letters(len(POISON))
    reasons = {letter.reason for letter in letters}
    for name, (_, _, says) in POISON.items():
        assert any(says in reason for reason in reasons), name
    assert {letter.trace_id for letter in letters} == {TRACE}
    assert {letter.queue for letter in letters} == {INBOX}
    assert {letter.deliveries for letter in letters} == {1}


async def test_C5_a_whole_20_MB_of_nonsense_is_a_letter_of_a_size_that_can_be_kept(office: Office) -> None:
    await office.send(b"x" * 20_000_000)
    (letter,) = await office.until_letters(1)
    assert "20000000 bytes" in letter.reason
    assert len(letter.body) < 1_200_000


async def test_C7_ten_duplicates_are_one_event_and_another_payload_is_refused(office: Office) -> None:
    await asyncio.gather(*(office.send(foreign("dup")) for _ in range(10)))
    await office.until_stored("dup")
    await office.send(foreign("dup", payload={"text": "something else"}))
    (letter,) = await office.until_letters(1)
    assert "another payload" in letter.reason
    (row,) = await office.house.rows(events)
    assert row["event_id"] == "dup"
    with pytest.raises(ConflictError, match="only be dropped"):
        await office.letters.requeue(letter.id, OPERATOR)


async def test_C7_what_comes_late_or_from_the_future_is_taken_with_a_time_that_is_not_to_come(office: Office) -> None:
    await office.send(foreign("late", timestamp="2020-01-01T00:00:00Z"))
    await office.send(foreign("early", timestamp="2090-01-01T00:00:00Z"))
    await office.until_stored("early", "late")
    times = {row["event_id"]: row["occurred_at"] for row in await office.house.rows(events)}
    assert times["late"] == datetime(2020, 1, 1, tzinfo=UTC)
    assert times["early"] <= datetime.now(UTC)


async def test_C6_a_requeued_letter_is_accepted_with_its_trace_and_its_time_and_only_once(office: Office) -> None:
    body = foreign("r1", timestamp="2026-01-01T00:00:00Z", trace_id=TRACE)
    await office.send(body, topic="agent.input.later")
    (letter,) = await office.until_letters(1)
    office.catalog = catalog_of(definition("echo"), definition("later"), number=2)
    await office.letters.requeue(letter.id, OPERATOR)
    await office.until_stored("r1")
    (row,) = await office.house.rows(events)
    assert (row["trace_id"], row["occurred_at"]) == (TRACE, datetime(2026, 1, 1, tzinfo=UTC))
    assert row["topic"] == "agent.input.later"
    with pytest.raises(ConflictError, match="requeued"):
        await office.letters.requeue(letter.id, OPERATOR)
    await office.send(body, topic="agent.input.later")
    await wait_until(lambda: office.ingress.accepted == 1, "its repetition was met")
    assert await office.stored() == ["r1"]


async def test_C6_an_event_with_gaps_comes_back_with_the_same_gaps_filled(office: Office) -> None:
    await office.send(
        orjson.dumps({"payload": {"n": 1}}),
        topic="agent.input.later",
        headers={"traceparent": f"00-{TRACE}-{'1' * 16}-01"},
    )
    (letter,) = await office.until_letters(1)
    await office.letters.requeue(letter.id, OPERATOR)
    (row,) = await office.house.rows(events)
    assert (row["trace_id"], row["topic"]) == (TRACE, "agent.input.later")


async def test_C6_a_crash_between_keeping_and_acking_gives_no_second_letter(office: Office) -> None:
    office.kept_twice = True
    await office.send(b"{")
    await wait_until(lambda: not office.kept_twice, "it was kept, and not acked")

    async def drained() -> bool:
        info = {queue.name: queue.messages for queue in await office.bus.get_queue_info()}
        return info["callboard.dead"] == 0

    await wait_until(drained, "the queue is empty")
    await office.send(b"{ again")
    letters = await office.until_letters(2)
    assert sorted(letter.body for letter in letters) == [b"{", b"{ again"]


async def test_C6_letters_wait_in_their_queue_while_the_database_is_away(office: Office) -> None:
    office.away = True
    for number in range(5):
        await office.send(b"{" + str(number).encode())
    office.away = False
    assert len(await office.until_letters(5)) == 5


async def test_the_database_away_stops_the_inbox_and_counts_nothing(office: Office) -> None:
    office.catalog = catalog_of(number=0)  # as before the first load: nobody can say whom an event is for
    for number in range(5):
        await office.send(foreign(f"w{number}"))
    await let_pass(1.5, "nothing else comes")
    assert await office.stored() == []
    office.catalog = catalog_of(definition("shop", subscriptions=["orders.#"]), number=1)
    await office.until_stored(*(f"w{number}" for number in range(5)))
    assert await office.letters.count() == 0


async def test_a_deposit_of_a_later_release_is_a_letter_that_says_so(office: Office) -> None:
    newer = orjson.loads(event("n1").to_json()) | {"schema_version": 2}
    encoded = frames.properties(frames.table({HEADER_ORIGIN: "callboard"}), content_type="application/json")
    await office.bus._publisher.publish("", INBOX, encoded, orjson.dumps(newer))
    (letter,) = await office.until_letters(1)
    assert "upgrade" in letter.reason


async def test_get_queue_info_tells_what_waits_and_who_consumes(office: Office) -> None:
    info = {queue.name: queue for queue in await office.bus.get_queue_info()}
    assert info[INBOX].consumers == 1
    assert info["callboard.dead"].consumers == 1
    assert all(queue.exists and queue.messages == 0 for queue in info.values())
    assert f"{INBOX}.retry.30s" in info
