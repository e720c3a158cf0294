"""The bus against a RabbitMQ that is killed, frozen, full, refuses, forgets: nothing confirmed is lost (C3, C4, A2)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from callboard.clock import SystemClock
from callboard.errors import UnavailableError
from callboard.messaging.delivery import Delivery, Queue, Undeliverable
from callboard.messaging.rabbitmq import RabbitEventBus
from callboard.messaging.rabbitmq.failures import election
from callboard.messaging.topology import DEAD, EXCHANGE, INBOX
from tests.support.rabbit_bus import carries, event, until_it_carries
from tests.support.servers.ports import free_port
from tests.support.servers.quorum_names import until_it_is_named_on_disk
from tests.support.servers.rabbit_server import RabbitServer
from tests.support.waiting import let_pass, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CONSUMER_TIMEOUT_SECONDS = 8
LOST = "the channel that consumes was closed"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """One broker for all trials here; a consumer that does not ack loses its channel after 8 s instead of 30 min."""
    folder = tmp_path_factory.mktemp("rabbitmq")
    (folder / "advanced.config").write_text(
        f"[{{rabbit,[{{consumer_timeout,{CONSUMER_TIMEOUT_SECONDS * 1000}}},{{channel_tick_interval,1000}}]}}].\n"
    )
    running = RabbitServer(folder)
    try:
        asyncio.run(running.start())
        yield running
    finally:
        asyncio.run(running.aclose())


@pytest.fixture
async def url(server: RabbitServer) -> AsyncIterator[str]:
    name = f"trial-{secrets.token_hex(6)}"
    await server.management.add_vhost(name)
    yield f"{server.url}{name}"
    await server.management.drop_vhost(name)


@contextlib.asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[RabbitEventBus]:
    bus = RabbitEventBus(url, SystemClock(), **{"process_id": "trial", "close_seconds": 0.5, **options})
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()


class Hearer:
    """A handler that keeps what it heard."""

    def __init__(self) -> None:
        self.heard: list[Delivery] = []
        self.away = False

    async def __call__(self, delivery: Delivery) -> None:
        if self.away:
            raise UnavailableError("the database is away")
        self.heard.append(delivery)

    @property
    def ids(self) -> set[str]:
        return {delivery.event.event_id for delivery in self.heard}


class Stream:
    """Publishes one event after the other, many at once, and knows which the bus has answered for."""

    def __init__(self, bus: RabbitEventBus) -> None:
        self._bus = bus
        self._numbers = itertools.count()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.confirmed: set[str] = set()
        self.refused = 0

    async def __aenter__(self) -> Stream:
        self._tasks = [asyncio.create_task(self._publish()) for _ in range(50)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def confirms(self, more: int) -> None:
        goal = len(self.confirmed) + more
        await wait_until(lambda: len(self.confirmed) >= goal, f"{more} more events are confirmed", within=40)

    async def _publish(self) -> None:
        while not self._stopping:
            event_id = f"e{next(self._numbers)}"
            try:
                await self._bus.publish(event(event_id))
            except UnavailableError:
                self.refused += 1
                await let_pass(0.05, "a publisher comes again after a moment")
            else:
                self.confirmed.add(event_id)


async def trouble(bus: RabbitEventBus, text: str) -> bool:
    """Whether the bus says that it is not well, and why."""
    try:
        await bus.ping()
    except UnavailableError as error:
        return text in error.message
    return False


def said(caplog: pytest.LogCaptureFixture) -> str:
    """Every log line with its fields."""
    return "\n".join(f"{record.getMessage()} {getattr(record, 'fields', {})}" for record in caplog.records)


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
async def test_C3_no_confirmed_event_is_lost_when_the_broker_is_killed(
    server: RabbitServer, url: str, queue_type: str
) -> None:
    hearer = Hearer()
    async with opened(url, queue_type=queue_type) as bus:
        bus.subscribe(Queue(name="q", patterns=("orders.#",)), hearer)
        await until_it_carries(bus)
        if queue_type == "quorum":
            await until_it_is_named_on_disk(server, url, "q")
        wake = bus.listen(["never.#"])
        await wake.wait()
        async with Stream(bus) as stream:
            await stream.confirms(1500)
            await server.kill()
            await wait_until(lambda: stream.refused > 0, "publishes are refused, not held")
            assert not await carries(bus)
            await server.start()
            await stream.confirms(300)
        await asyncio.wait_for(wake.wait(), 20)  # something may have been missed
        await wait_until(lambda: stream.confirmed <= hearer.ids, "every confirmed event was delivered", within=30)


async def test_C3_a_quorum_queue_whose_name_a_crash_forgot_is_told_of_and_holds_up_no_other(
    server: RabbitServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a crash in a quorum queue's first seconds does: it comes back as a new one that never elects a leader."""
    hearer, other, vhost = Hearer(), Hearer(), urlsplit(url).path[1:]
    async with opened(url) as bus:
        bus.subscribe(Queue(name="q", patterns=("orders.#",)), hearer)
        bus.subscribe(Queue(name="other", patterns=("offers.#",)), other)
        await until_it_carries(bus)
        await until_it_is_named_on_disk(server, url, "other")
        server.control("eval", f"T = ra_directory_reverse, dets:delete(T, '{vhost}_q'), dets:sync(T).")
        await server.kill()
        await server.start()
        await wait_until(lambda: trouble(bus, "queue q has no leader"), "the queue is told of", within=40)
        assert "a queue takes no consumer though RabbitMQ answers" in said(caplog)

        async def others_go_on() -> bool:
            with contextlib.suppress(UnavailableError):
                await bus.publish(event("e1", topic="offers.made"))
            return "e1" in other.ids

        await wait_until(others_go_on, "the queue after it is consumed")
        assert server.control("eval", election("q", vhost)).strip() == "ok"  # the remedy that the log names
        await until_it_carries(bus)
        await bus.publish(event("e2"))
        await wait_until(lambda: "e2" in hearer.ids, "it is consumed as before")


async def test_C3_connections_that_come_and_go_lose_nothing(server: RabbitServer, url: str) -> None:
    hearer = Hearer()
    async with opened(url) as bus, opened(url, process_id="other") as other:
        bus.subscribe(Queue(name="q", patterns=("orders.#",), max_deliveries=1000), hearer)
        wake = other.listen(["orders.#"])
        await until_it_carries(bus)
        await until_it_carries(other)
        async with Stream(bus) as stream:
            for _ in range(3):
                await stream.confirms(100)
                server.control("close_all_connections", "churn")
            await stream.confirms(100)
        await wait_until(lambda: stream.confirmed <= hearer.ids, "every confirmed event was delivered", within=30)
        await until_it_carries(other)
        await wake.wait()
        bus.publish(event("last"))
        await asyncio.wait_for(wake.wait(), 10)


async def test_C4_a_handler_that_outlasts_the_consumer_timeout_leaves_no_deaf_consumer(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker closes the channel (406)."""
    heard: list[int] = []
    first = asyncio.Event()

    async def slow(delivery: Delivery) -> None:
        heard.append(delivery.deliveries)
        if len(heard) == 1:
            await first.wait()

    async with opened(url) as bus:
        bus.subscribe(Queue(name="q", patterns=("orders.#",)), slow)
        await until_it_carries(bus)
        await bus.publish(event("e1"))
        await wait_until(lambda: heard, "it is handled")
        await wait_until(lambda: LOST in said(caplog), "the closed channel is noticed", within=40)
        await until_it_carries(bus)
        first.set()
        await bus.publish(event("e2"))
        await wait_until(lambda: len(heard) == 3, "the one comes again, counted, and the next one too")
        assert sorted(heard) == [1, 1, 2]


@pytest.mark.matrix
async def test_C4_an_outage_longer_than_the_consumer_timeout_counts_nothing(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    hearer, letters = Hearer(), []

    async def keep(letter: Undeliverable) -> None:
        letters.append(letter)

    async with opened(url, dead_letter=keep) as bus:
        hearer.away = True
        bus.subscribe(Queue(name="q", patterns=("orders.#",)), hearer)
        await until_it_carries(bus)
        await asyncio.gather(*(bus.publish(event(f"e{number}")) for number in range(20)))
        await let_pass(CONSUMER_TIMEOUT_SECONDS + 3, "the broker would close a channel that holds deliveries")
        assert LOST not in said(caplog)  # nothing was held for so long that the broker minded
        hearer.away = False
        await wait_until(lambda: len(hearer.ids) == 20, "all come")
        again = [(delivery.event.event_id, delivery.deliveries) for delivery in hearer.heard if delivery.deliveries > 1]
        assert again == []
        assert letters == []


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
async def test_C2_a_delivery_whose_process_dies_each_time_is_a_dead_letter_after_five(
    url: str, queue_type: str
) -> None:
    letters: list[Undeliverable] = []
    counts: list[int] = []

    async def keep(letter: Undeliverable) -> None:
        letters.append(letter)

    async with opened(url, dead_letter=keep, queue_type=queue_type) as drain:
        await until_it_carries(drain)
        for life in range(6):
            if letters:
                break
            async with opened(url, process_id=f"life-{life}", queue_type=queue_type) as bus:
                gone = asyncio.Event()

                async def hang(delivery: Delivery, gone: asyncio.Event = gone) -> None:
                    counts.append(delivery.deliveries)
                    gone.set()
                    await asyncio.Event().wait()

                bus.subscribe(Queue(name="q", patterns=("orders.#",)), hang)
                await until_it_carries(bus)
                if life == 0:
                    await bus.publish(event("poison"))
                await wait_until(lambda: gone.is_set() or letters, "it is handled again, or buried")  # noqa: B023
        await wait_until(lambda: letters, "it is a dead letter")
    (letter,) = letters
    assert counts == [1, 2, 3, 4, 5]
    assert (letter.queue, letter.event_id, letter.topic) == ("q", "poison", "orders.created")
    assert "never answered for" in letter.reason


async def test_A2_a_frozen_broker_is_answered_for_and_noticed(server: RabbitServer, url: str) -> None:
    hearer = Hearer()
    async with opened(url, declares=True) as bus:
        bus.subscribe(Queue(name="q", patterns=("orders.#",)), hearer)
        await until_it_carries(bus)
        server.pause()
        try:
            publishing = bus.publish(event("e1"))
            with pytest.raises(UnavailableError):
                await bus.deposit(event("e2"), ())
            with pytest.raises(UnavailableError):
                await bus.ping()
            with pytest.raises(UnavailableError):
                await asyncio.wait_for(publishing, 30)
            with pytest.raises(UnavailableError):  # from now on at once
                await asyncio.wait_for(bus.publish(event("e3")), 5)
        finally:
            server.resume()
        await until_it_carries(bus, within=40)
        await bus.publish(event("e4"))
        await wait_until(lambda: "e4" in hearer.ids, "events flow again")


async def test_A2_an_alarm_refuses_at_once_and_does_not_stop_what_is_consumed(
    server: RabbitServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    hearer = Hearer()
    async with opened(url, declares=True) as bus:
        bus.subscribe(Queue(name="q", patterns=("orders.#",)), hearer)
        await until_it_carries(bus)
        hearer.away = True
        await bus.publish(event("e1"))
        server.control("set_disk_free_limit", "9000GB")
        try:
            with pytest.raises(UnavailableError):
                await asyncio.wait_for(bus.publish(event("e2")), 20)
            with pytest.raises(UnavailableError, match="free its disk"):
                await bus.deposit(event("e3"), ())
            with pytest.raises(UnavailableError, match="free its disk"):
                await bus.ping()
            hearer.away = False
            await wait_until(lambda: "e1" in hearer.ids, "what had come is handled all the same")
        finally:
            server.control("set_disk_free_limit", "50MB")
        await until_it_carries(bus)
        await bus.deposit(event("e5"), ())
    assert said(caplog).count("RabbitMQ has raised an alarm") == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("password", "user and password in RABBITMQ_URL"),
        ("vhost", "rabbitmqctl add_vhost"),
        ("port", "start RabbitMQ"),
    ],
)
async def test_C3_who_cannot_connect_says_why_once_and_keeps_trying(
    server: RabbitServer, change: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    port = urlsplit(server.url).port
    url = {
        "password": f"amqp://callboard:geheim@127.0.0.1:{port}/",
        "vhost": f"amqp://callboard:callboard@127.0.0.1:{port}/nowhere",
        "port": f"amqp://callboard:geheim@127.0.0.1:{free_port()}/",
    }[change]
    caplog.set_level(logging.INFO)
    async with opened(url) as bus:
        await wait_until(lambda: said(caplog).count(says) == 2, "each of its two connections has told why")
        with pytest.raises(UnavailableError, match=says):
            await bus.ping()
        with pytest.raises(UnavailableError):
            await bus.publish(event("e1"))
        with pytest.raises(UnavailableError):
            await bus.deposit(event("e1"), ())
        begun = time.monotonic()
        await wait_until(lambda: time.monotonic() - begun > 3, "it goes on trying")
    assert said(caplog).count("no connection to RabbitMQ") == 2  # one for each of its two connections
    assert "geheim" not in said(caplog)
    assert "Traceback" not in caplog.text


async def test_C3_it_connects_as_soon_as_the_broker_is_there(server: RabbitServer, url: str) -> None:
    hearer = Hearer()
    await server.kill()
    async with opened(url) as bus:
        bus.subscribe(Queue(name="q", patterns=("orders.#",)), hearer)
        assert not await carries(bus)
        await server.start()
        await until_it_carries(bus)
        await bus.publish(event("e1"))
        await wait_until(lambda: hearer.ids == {"e1"}, "it is consumed")


async def test_C3_queues_deleted_by_hand_are_declared_again(
    server: RabbitServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    hearer, vhost = Hearer(), urlsplit(url).path[1:]
    async with opened(url, declares=True) as bus:
        bus.subscribe(Queue(name="q", patterns=("orders.#",)), hearer)
        await until_it_carries(bus)
        await server.management.drop_queue(vhost, "q")
        await wait_until(lambda: LOST in said(caplog), "its end is noticed")
        await until_it_carries(bus)
        await bus.publish(event("e1"))
        await wait_until(lambda: hearer.ids == {"e1"}, "events come again")
        # The inbox has no consumer here: the next deposit finds out, and the topology is declared again.
        await server.management.drop_queue(vhost, INBOX)
        with pytest.raises(UnavailableError, match="no queue"):
            await bus.deposit(event("e2"), ())

        async def deposited() -> bool:
            try:
                await bus.deposit(event("e2"), ())
            except UnavailableError:
                return False
            return True

        await wait_until(deposited, "deposits are taken again")
        info = {queue.name: queue for queue in await bus.get_queue_info()}
        assert info[INBOX].messages == 1
        assert info[DEAD].exists


async def test_C3_an_exchange_deleted_by_hand_is_declared_again(server: RabbitServer, url: str) -> None:
    hearer = Hearer()
    async with opened(url) as bus:
        bus.subscribe(Queue(name="q", patterns=("orders.#",)), hearer)
        await until_it_carries(bus)
        await server.management.drop_exchange(urlsplit(url).path[1:], EXCHANGE)
        with pytest.raises(UnavailableError):
            await asyncio.wait_for(_until_refused(bus), 10)
        await until_it_carries(bus)

        async def heard() -> bool:
            with contextlib.suppress(UnavailableError):
                await bus.publish(event("again"))
            return "again" in hearer.ids

        await wait_until(heard, "events reach their queue again")


async def _until_refused(bus: RabbitEventBus) -> None:
    while True:
        await bus.publish(event("e"))
