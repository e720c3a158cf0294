"""The topology, declared at the broker. Declaring what is there already changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from callboard.errors import CallboardError
from callboard.logs import StructuredLogger
from callboard.messaging.delivery import Queue
from callboard.messaging.rabbitmq.channel import NOT_FOUND, PRECONDITION_FAILED, Channel, ChannelClosedError
from callboard.messaging.rabbitmq.wire import Wire
from callboard.messaging.topology import (
    DEAD,
    EVERYTHING,
    EXCHANGE,
    FOREIGN,
    HEADER_ORIGIN,
    INBOX,
    INBOX_RETRY_SECONDS,
    MAX_DELIVERIES,
    ORIGIN,
    OURS,
    TO_INBOX,
    retry_queue,
)

QueueType = Literal["quorum", "classic"]
NO_LIMIT = 1_000_000
"""Deliveries of a dead letter to the drain; RabbitMQ 4 has a limit of 20 where none is set, and 3.10 knows no -1."""

INBOX_QUEUE = Queue(name=INBOX, patterns=(), max_deliveries=MAX_DELIVERIES, retry_seconds=INBOX_RETRY_SECONDS)


class DeclarationError(CallboardError):
    """A queue or exchange exists otherwise than it is declared, or may not be declared; the message has the remedy."""

    code = "declaration"


class Topology:
    """Declares exchanges and queues over a connection; each method raises DeclarationError."""

    def __init__(self, queue_type: QueueType, max_deliveries: int = MAX_DELIVERIES) -> None:
        self._type = queue_type
        self._inbox = replace(INBOX_QUEUE, max_deliveries=max_deliveries)
        self._told: set[str] = set()
        self._log = StructuredLogger("event-bus")

    async def exchanges(self, wire: Wire) -> None:
        """Everything that events pass on their way, without a queue."""
        channel = await Channel.open(wire)
        try:
            await channel.exchange_declare(EXCHANGE, "topic")
            await channel.exchange_declare(OURS, "fanout", internal=True)
            await channel.exchange_declare(TO_INBOX, "fanout", internal=True)
            await channel.exchange_declare(
                FOREIGN, "headers", internal=True, arguments={"alternate-exchange": TO_INBOX}
            )
            await channel.exchange_bind(OURS, FOREIGN, "", {"x-match": "all", HEADER_ORIGIN: ORIGIN})
            await channel.exchange_bind(FOREIGN, EXCHANGE, EVERYTHING)
        except ChannelClosedError as error:
            raise DeclarationError(_remedy("the exchanges", error)) from error
        channel.close()

    async def inbox(self, wire: Wire) -> None:
        """The inbox, its retry steps, the dead letters, and the way of other systems' events into it."""
        await self.queue(wire, self._inbox)
        channel = await Channel.open(wire)
        try:
            await channel.queue_bind(INBOX, TO_INBOX, "")
        except ChannelClosedError as error:
            raise DeclarationError(_remedy(INBOX, error)) from error
        channel.close()

    async def queue(self, wire: Wire, queue: Queue) -> None:
        """A durable queue, bound by its patterns, with its retry steps and the dead letters behind it."""
        if queue.name != DEAD:
            await self._declare(wire, DEAD, self._arguments(NO_LIMIT))
        arguments = self._arguments(NO_LIMIT if queue.name == DEAD else queue.max_deliveries - 1)
        if queue.name != DEAD:
            arguments |= self._dead_letters_to(DEAD)
            for seconds in dict.fromkeys(queue.retry_seconds):
                waits = {**self._arguments(None), **self._dead_letters_to(queue.name)}
                await self._declare(
                    wire, retry_queue(queue.name, seconds), waits | {"x-message-ttl": round(seconds * 1000)}
                )
        await self._declare(wire, queue.name, arguments)
        if queue.patterns:
            channel = await Channel.open(wire)
            for pattern in queue.patterns:
                await channel.queue_bind(queue.name, EXCHANGE, pattern)
            channel.close()

    async def queue_info(self, wire: Wire, name: str) -> tuple[int, int] | None:
        """Messages that are ready, and consumers; None for a queue that is not there."""
        channel = await Channel.open(wire)
        try:
            _, messages, consumers = await channel.queue_declare(name, passive=True)
        except ChannelClosedError as error:
            if error.reply == NOT_FOUND:
                return None
            raise
        channel.close()
        return messages, consumers

    async def _declare(self, wire: Wire, name: str, arguments: dict[str, Any]) -> None:
        channel = await Channel.open(wire)
        try:
            await channel.queue_declare(name, arguments=arguments)
        except ChannelClosedError as error:
            if error.reply != PRECONDITION_FAILED:
                raise DeclarationError(_remedy(name, error)) from error
            # It is there, made with other arguments: it carries events all the same.
            if name in self._told:
                return
            self._told.add(name)
            self._log.warning(
                "a queue exists with other arguments and is used as it is: to renew it, stop everything, let it run "
                "empty and delete it (rabbitmqctl delete_queue), or set CALLBOARD_INBOX_QUEUE_TYPE to what it is",
                queue=name,
                reason=error.message,
            )
            return
        channel.close()

    def _arguments(self, delivery_limit: int | None) -> dict[str, Any]:
        arguments: dict[str, Any] = {"x-queue-type": self._type}
        if self._type == "quorum" and delivery_limit is not None:
            # One more delivery than this is made (RELIABILITY.md, finding 2).
            arguments["x-delivery-limit"] = delivery_limit
        return arguments

    def _dead_letters_to(self, name: str) -> dict[str, Any]:
        arguments: dict[str, Any] = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name}
        if self._type == "quorum":
            # Moved with confirms inside the broker, so that its crash loses none; it needs this overflow.
            arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
        return arguments


def _remedy(what: str, error: ChannelClosedError) -> str:
    if error.reply == 403:
        return f"{what} cannot be declared ({error.message}): give the user the right to configure, write and read"
    if error.reply == PRECONDITION_FAILED:
        return f"{what} exist with other arguments ({error.message}): delete them at the broker, they are made again"
    return f"{what} cannot be declared: {error.message}"
