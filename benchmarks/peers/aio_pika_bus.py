# mypy: disable-error-code="import-not-found, no-any-return, misc"
"""aio-pika on uvloop: `connect_robust`, a channel with publisher confirms, 100 publishes awaited at a time.

Consuming: `queue.consume` with the prefetch as quality of service, each message acked alone, as its guide shows.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aio_pika
import uvloop

from benchmarks.rounds import arguments, report

QUEUE_ARGUMENTS = {"x-queue-type": "quorum"}


async def publish(
    *, rabbitmq_url: str, queue: str, count: int, in_flight: int, body_bytes: int, by_topic: bool, **_: Any
) -> float:
    """Confirmed publishes a second: straight to the queue, or by the same exchanges as the product's events."""
    async with await aio_pika.connect_robust(rabbitmq_url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        bound = await channel.declare_queue(queue, durable=True, arguments=QUEUE_ARGUMENTS)
        exchange = await product_exchange(channel, bound) if by_topic else channel.default_exchange
        key, headers = ("benchmark.event", {"callboard-origin": "callboard"}) if by_topic else (queue, None)
        await publish_all(exchange, key, count // 10, in_flight, body_bytes, headers)
        began = time.perf_counter()
        await publish_all(exchange, key, count, in_flight, body_bytes, headers)
        took = time.perf_counter() - began
    return count / took


async def publish_all(
    exchange: Any, key: str, count: int, in_flight: int, body_bytes: int, headers: dict[str, str] | None = None
) -> None:
    body = b"x" * body_bytes

    async def publisher(share: int) -> None:
        for _ in range(share):
            message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, headers=headers)
            await exchange.publish(message, routing_key=key)

    await asyncio.gather(*(publisher(count // in_flight) for _ in range(in_flight)))


async def product_exchange(channel: Any, queue: Any) -> Any:
    """The topic exchange with the binding that every event of the product passes besides its own queues."""
    exchange = await channel.declare_exchange("callboard.events", "topic", durable=True)
    ours = await channel.declare_exchange("callboard.ours", "fanout", durable=True, internal=True)
    others = await channel.declare_exchange("callboard.foreign", "headers", durable=True, internal=True)
    await ours.bind(others, "", arguments={"x-match": "all", "callboard-origin": "callboard"})
    await others.bind(exchange, "#")
    await queue.bind(exchange, "benchmark.#")
    return exchange


async def consume(*, rabbitmq_url: str, queue: str, count: int, prefetch: int, body_bytes: int, **_: Any) -> float:
    """Messages of a filled queue that are consumed and acked a second."""
    async with await aio_pika.connect_robust(rabbitmq_url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=prefetch)
        filled = await channel.declare_queue(queue, durable=True, arguments=QUEUE_ARGUMENTS)
        await publish_all(channel.default_exchange, queue, count, prefetch, body_bytes)
        moments: list[float] = []
        done = asyncio.Event()
        warm = count // 10

        async def handle(message: Any) -> None:
            await message.ack()
            nonlocal seen
            seen += 1
            if seen in (warm, count):
                moments.append(time.perf_counter())
                if seen == count:
                    done.set()

        seen = 0
        tag = await filled.consume(handle)
        await done.wait()
        await filled.cancel(tag)
    return (count - warm) / (moments[1] - moments[0])


if __name__ == "__main__":
    given = arguments()
    measure = publish if given.pop("work") == "publish" else consume
    report(rate=uvloop.run(measure(**given)))
