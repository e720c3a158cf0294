"""Our bus on RabbitMQ: publishing events with confirms, and consuming them through the delivery loop."""

from __future__ import annotations

import asyncio
import io
import time
from datetime import UTC, datetime
from typing import Any

import pika
import uvloop

from benchmarks.rounds import arguments, report
from callboard.clock import SystemClock
from callboard.ids import RandomIds
from callboard.logs import LogSettings, Redactor, configure
from callboard.messaging.delivery import Delivery, Queue
from callboard.messaging.events import Actor, Event, EventType
from callboard.messaging.rabbitmq.bus import RabbitEventBus
from callboard.messaging.topology import EXCHANGE, INBOX

TOPIC = "benchmark.event"
PATTERN = "benchmark.#"


def events(count: int, size: int) -> list[Event]:
    """Events whose bytes on the wire are `size` each."""
    ids = RandomIds()
    empty = len(_event(ids, "").to_json())
    return [_event(ids, "x" * (size - empty)) for _ in range(count)]


def _event(ids: RandomIds, text: str) -> Event:
    return Event(
        event_id=ids.new(),
        event_type=EventType.EXTERNAL,
        topic=TOPIC,
        timestamp=datetime(2026, 1, 1, 12, 30, 15, 123456, UTC),
        trace_id=ids.new(),
        actor=Actor(kind="api", id="benchmark"),
        payload={"text": text},
    )


async def publish(
    *, rabbitmq_url: str, queue: str, count: int, in_flight: int, body_bytes: int, **_: Any
) -> dict[str, float]:
    """Confirmed publishes a second, each routed to one quorum queue."""
    bus = RabbitEventBus(rabbitmq_url, SystemClock(), process_id="benchmark")
    await bus.start()
    await _until_up(bus)
    await asyncio.to_thread(_declare_quorum, rabbitmq_url, queue)
    warm, made = events(count // 10, body_bytes), events(count, body_bytes)

    async def publisher(share: list[Event]) -> None:
        for event in share:
            await bus.publish(event)

    await asyncio.gather(*(publisher(warm[n::in_flight]) for n in range(in_flight)))
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(publisher(made[n::in_flight]) for n in range(in_flight)))
    took, used = time.perf_counter() - began, time.process_time() - cpu
    await bus.close()
    await asyncio.to_thread(_delete, rabbitmq_url, queue, count + len(warm))
    return {"rate": count / took, "cpu_us": used / count * 1e6}


async def deposit(*, rabbitmq_url: str, count: int, in_flight: int, body_bytes: int, **_: Any) -> dict[str, float]:
    """Confirmed deposits in the inbox a second, as the gateway makes them while the database is away."""
    bus = RabbitEventBus(rabbitmq_url, SystemClock(), process_id="benchmark", declares=True)
    await bus.start()
    await _until_up(bus)
    await bus.declare()
    warm, made = events(count // 10, body_bytes), events(count, body_bytes)

    async def publisher(share: list[Event]) -> None:
        for event in share:
            await bus.deposit(event, (f"benchmark:{event.event_id}",))

    await asyncio.gather(*(publisher(warm[n::in_flight]) for n in range(in_flight)))
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(publisher(made[n::in_flight]) for n in range(in_flight)))
    took, used = time.perf_counter() - began, time.process_time() - cpu
    held = next(queue.messages for queue in await bus.get_queue_info() if queue.name == INBOX)
    assert held == count + len(warm), f"{held} messages are in the inbox"
    await bus.close()
    return {"rate": count / took, "cpu_us": used / count * 1e6}


async def consume(
    *, rabbitmq_url: str, queue: str, count: int, prefetch: int, body_bytes: int, **_: Any
) -> dict[str, float]:
    """Events of a filled queue that are delivered to an empty handler and acked a second."""
    seen = 0
    moments: list[float] = []
    done = asyncio.Event()
    warm = count // 10

    async def handle(_: Delivery) -> None:
        nonlocal seen
        seen += 1
        if seen in (warm, count):
            moments.append(time.perf_counter())
            if seen == count:
                done.set()

    bound = Queue(name=queue, patterns=(PATTERN,))
    filler = RabbitEventBus(rabbitmq_url, SystemClock(), process_id="benchmark")
    filler.subscribe(bound, handle)
    await filler.start()
    await _until_up(filler)
    await filler.close()
    filler = RabbitEventBus(rabbitmq_url, SystemClock(), process_id="benchmark")
    await filler.start()
    await _until_up(filler)
    for part in range(0, count, 1000):
        await asyncio.gather(*(filler.publish(event) for event in events(min(1000, count - part), body_bytes)))
    await filler.close()
    bus = RabbitEventBus(rabbitmq_url, SystemClock(), process_id="benchmark")
    bus.subscribe(bound, handle)
    await bus.start()
    await done.wait()
    await bus.close()
    await asyncio.to_thread(_delete, rabbitmq_url, queue, None)
    return {"rate": (count - warm) / (moments[1] - moments[0])}


async def _until_up(bus: RabbitEventBus) -> None:
    for _ in range(1000):
        try:
            await bus.ping()
        except Exception:  # noqa: BLE001  # it is not there yet
            await asyncio.sleep(0.01)
        else:
            return
    await bus.ping()


def _declare_quorum(url: str, queue: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(queue, EXCHANGE, PATTERN)


def _delete(url: str, queue: str, holds: int | None) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        found = channel.queue_declare(queue, passive=True).method.message_count
        channel.queue_delete(queue)
    assert found == holds or not holds, f"{found} of {holds} messages are in the queue"


if __name__ == "__main__":
    given = arguments()
    work = given.pop("work")
    measure = consume if work == "consume" else deposit if work == "deposit" else publish
    with configure(LogSettings(), stream=io.StringIO(), redactor=Redactor()):
        report(**uvloop.run(measure(**given)))
