"""Another system that publishes its events where Callboard's are, by AMQP, until the broker has confirmed each."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pika

from callboard.messaging.topology import EXCHANGE
from tests.support.storm import DEALS, Storm

AGAIN_SECONDS = 1.0


class OtherSystem:
    """Knows nothing of Callboard but the name of the exchange and the form of an event."""

    def __init__(self, url: str, threads: concurrent.futures.Executor) -> None:
        self._parameters = pika.URLParameters(url)
        self._parameters.heartbeat = 5
        self._parameters.socket_timeout = self._parameters.stack_timeout = 3.0
        self._parameters.blocked_connection_timeout = 3.0
        self._threads = threads

    async def publish(self, topic: str, event_id: str, payload: dict[str, Any], **more: Any) -> bool:
        """Whether the broker has confirmed it."""
        body = orjson.dumps({"event_id": event_id, "topic": topic, "payload": payload, **more})
        return await self.publish_raw(topic, body)

    async def publish_raw(self, topic: str, body: bytes) -> bool:
        """Any bytes; whether the broker has confirmed them."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._publish, topic, body)

    def _publish(self, topic: str, body: bytes) -> bool:
        properties = pika.BasicProperties(content_type="application/json", delivery_mode=2)
        try:
            connection = pika.BlockingConnection(self._parameters)
            with contextlib.closing(connection):
                channel = connection.channel()
                channel.confirm_delivery()
                channel.basic_publish(EXCHANGE, topic, body, properties, mandatory=True)
        except Exception:  # noqa: BLE001  # whatever pika makes of a broker that is away or frozen
            return False
        return True


@contextlib.asynccontextmanager
async def other_system(url: str) -> AsyncIterator[OtherSystem]:
    """Its connections are made in threads, which have ended when the context has."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    threads = concurrent.futures.ThreadPoolExecutor(max_workers=8, thread_name_prefix="other-system")
    try:
        yield OtherSystem(url, threads)
    finally:
        await asyncio.to_thread(threads.shutdown, cancel_futures=True)


def add_to(storm: Storm, system: OtherSystem) -> None:
    """Two more ways in: a topic that an agent subscribes to, and one that names the agent."""

    async def of_a_deal(marker: str) -> None:
        await _publish(storm, system, marker, DEALS, "deals")

    async def of_an_agent(marker: str) -> None:
        await _publish(storm, system, marker, "agent.input.echo", "echo")

    storm.add_kinds(of_a_deal, of_an_agent)


async def _publish(storm: Storm, system: OtherSystem, marker: str, topic: str, agent: str) -> None:
    sent = storm.note(marker, "foreign", agent)
    while not sent.accepted:
        sent.tries += 1
        sent.accepted = await system.publish(topic, f"crm-{marker}", {"text": marker})
        if not sent.accepted:
            await asyncio.sleep(AGAIN_SECONDS)
