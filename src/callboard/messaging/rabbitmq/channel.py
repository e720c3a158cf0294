"""A channel of pika whose methods can be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from pika import exceptions
from pika.channel import Channel as PikaChannel

from callboard.errors import CallboardError
from callboard.messaging.rabbitmq import frames
from callboard.messaging.rabbitmq.failures import reply_code, why_closed
from callboard.messaging.rabbitmq.wire import ContentSink, Wire

NOT_FOUND = 404
PRECONDITION_FAILED = 406


class ChannelClosedError(CallboardError):
    """The broker refused something and closed the channel with it, or the connection went; `reply` is its number."""

    code = "channel_closed"

    def __init__(self, message: str, reply: int | None) -> None:
        super().__init__(message)
        self.reply = reply


class Channel:
    """One channel; a method that the broker refuses raises ChannelClosedError, and so does every one after it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._pika: PikaChannel | None = None
        self._pending: set[asyncio.Future[Any]] = set()
        self.closed: asyncio.Future[ChannelClosedError] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, wire: Wire) -> Channel:
        """Raises ChannelClosedError."""
        channel = cls(wire)
        await channel._call(channel._opening)
        return channel

    @property
    def number(self) -> int:
        assert self._pika is not None  # noqa: S101  # set before anybody has the channel
        return int(self._pika.channel_number)

    @property
    def is_open(self) -> bool:
        return not self.closed.done()

    @property
    def frame_max(self) -> int:
        return self._wire.frame_max

    @property
    def virtual_host(self) -> str:
        return self._wire.virtual_host

    def send(self, data: bytes, *, now: bool = False) -> None:
        """Whole frames of this channel; at the end of the loop's turn with everything else, or now."""
        if self.is_open:
            self._wire.send(data)
            if now:
                self._wire.flush()

    def route_content(self, sink: ContentSink) -> None:
        self._wire.route_content(self.number, sink)

    async def confirm_delivery(self) -> None:
        """From now on the broker answers for each publish."""
        # The answers come past pika, which only needs to see that somebody wants them.
        await self._call(lambda done: self._there.confirm_delivery(_ignore, callback=done))

    async def exchange_declare(
        self, name: str, kind: str, *, internal: bool = False, arguments: Mapping[str, Any] | None = None
    ) -> None:
        await self._call(
            lambda done: self._there.exchange_declare(
                name, kind, durable=True, internal=internal, arguments=dict(arguments or {}), callback=done
            )
        )

    async def exchange_bind(
        self, destination: str, source: str, routing_key: str, arguments: Mapping[str, Any] | None = None
    ) -> None:
        await self._call(
            lambda done: self._there.exchange_bind(
                destination, source, routing_key, arguments=dict(arguments or {}), callback=done
            )
        )

    async def queue_declare(
        self,
        name: str,
        *,
        passive: bool = False,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> tuple[str, int, int]:
        """The queue's name, its messages that are ready and its consumers."""
        answer = await self._call(
            lambda done: self._there.queue_declare(
                name,
                passive=passive,
                durable=durable,
                exclusive=exclusive,
                auto_delete=auto_delete,
                arguments=dict(arguments or {}),
                callback=done,
            )
        )
        return answer.method.queue, answer.method.message_count, answer.method.consumer_count

    async def queue_bind(
        self, queue: str, exchange: str, routing_key: str, arguments: Mapping[str, Any] | None = None
    ) -> None:
        await self._call(
            lambda done: self._there.queue_bind(
                queue, exchange, routing_key, arguments=dict(arguments or {}), callback=done
            )
        )

    async def qos(self, prefetch: int) -> None:
        await self._call(lambda done: self._there.basic_qos(prefetch_count=prefetch, callback=done))

    async def consume(self, queue: str, tag: str, *, auto_ack: bool = False) -> None:
        """Messages go to the sink of the channel."""
        await self._call(
            lambda done: self._there.basic_consume(queue, _ignore, auto_ack=auto_ack, consumer_tag=tag, callback=done)
        )

    async def cancel(self, tag: str) -> None:
        await self._call(lambda done: self._there.basic_cancel(tag, callback=done))

    def ask_for_one(self, queue: str) -> None:
        """`basic.get`: the sink gets a message, or hears that there is none."""
        self.send(frames.get(self.number, queue))

    def close(self) -> None:
        """Asks the broker to close it; nobody waits for that."""
        if self._pika is not None and self._pika.is_open:
            self._pika.close()

    @property
    def _there(self) -> PikaChannel:
        assert self._pika is not None  # noqa: S101  # set before anybody has the channel
        return self._pika

    def _opening(self, done: Callable[[Any], None]) -> None:
        self._pika = self._wire.channel(on_open_callback=done)
        self._pika.add_on_close_callback(self._on_close)

    async def _call(self, method: Callable[[Callable[[Any], None]], Any]) -> Any:
        if self.closed.done():
            raise self.closed.result()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(frame: Any) -> None:
            if not answer.done():
                answer.set_result(frame)

        self._pending.add(answer)
        try:
            method(done)
            return await answer
        except exceptions.AMQPError as error:
            raise ChannelClosedError(why_closed(error), reply_code(error)) from error
        finally:
            self._pending.discard(answer)

    def _on_close(self, _channel: PikaChannel, reason: Exception) -> None:
        self._wire.forget_content(self.number)
        error = ChannelClosedError(why_closed(reason), reply_code(reason))
        if not self.closed.done():
            self.closed.set_result(error)
        for answer in tuple(self._pending):
            if not answer.done():
                answer.set_exception(error)


def _ignore(*_: Any) -> None:
    """A callback that pika wants and that is never called: content goes past it."""
