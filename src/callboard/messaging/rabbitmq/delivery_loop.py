"""The delivery loop of one queue: a fixed crew of workers takes what has come, and acks are sent once a turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.ids import Ids
from callboard.logs import StructuredLogger
from callboard.messaging.delivery import Queue, RejectDelivery
from callboard.messaging.message import Message
from callboard.messaging.rabbitmq import frames
from callboard.messaging.rabbitmq.channel import Channel, ChannelClosedError
from callboard.messaging.rabbitmq.confirms import AckWindow
from callboard.messaging.rabbitmq.failures import no_leader
from callboard.messaging.rabbitmq.onward import Headers, buried, counted
from callboard.messaging.rabbitmq.properties import deliveries_of, is_uncounted, message_of, with_headers
from callboard.messaging.rabbitmq.publisher import Publisher
from callboard.messaging.rabbitmq.wire import Incoming, Wire
from callboard.messaging.topology import DEAD, retry_queue

PREFETCH = 200
TRY_AGAIN_SECONDS = 1.0
HOLD_SECONDS = 5.0
"""So long an outage may last before what was delivered goes back into the queue: held for longer, the broker would
take it for lost and count a delivery."""
ANSWER_SECONDS = 10.0
"""A queue that does not take a consumer for so long has no leader: every other one answers in milliseconds."""

IncomingHandler = Callable[[Incoming, int], Awaitable[None]]
"""Takes what came and how often it was delivered, this time included; ends as `Handler` does."""


class _Held:
    """A message with the channel that it came by: acks of another life of the connection are nobody's."""

    __slots__ = ("acks", "channel", "incoming")

    def __init__(self, incoming: Incoming, channel: Channel, acks: AckWindow) -> None:
        self.incoming = incoming
        self.channel = channel
        self.acks = acks


class DeliveryLoop:
    """Hands a queue's messages to its handler and does with each what the handler's end means.

    Whatever leaves the queue another way than by success is published to where it goes, confirmed, and only then
    acked: a crash in between repeats it and loses nothing.
    """

    def __init__(
        self,
        queue: Queue,
        handler: IncomingHandler,
        publisher: Publisher,
        clock: Clock,
        ids: Ids,
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called when the loop has lost its channel and has to be attached again."""
        self.queue = queue
        self._handler = handler
        self._publisher = publisher
        self._clock = clock
        self._ids = ids
        self._changed = changed
        self._channel: Channel | None = None
        self._acks = AckWindow()
        self._waiting: deque[_Held] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._flush_scheduled = False
        self._outage: asyncio.Task[None] | None = None
        self._consuming = False
        self._consumers = 0
        self._answer: asyncio.Future[None] | None = None
        self._got: asyncio.Future[bool] | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._closing = False
        self._log = StructuredLogger("event-bus")

    @property
    def attached(self) -> bool:
        return self._channel is not None and self._channel.is_open

    @property
    def silent(self) -> bool:
        """The queue does not take its consumer, though the broker answers; it begins by itself when the queue does."""
        return self._answer is not None

    def start(self) -> None:
        self._closing = False
        self._workers = [
            asyncio.create_task(self._work(), name=f"queue {self.queue.name}") for _ in range(self.queue.concurrency)
        ]

    async def close(self, seconds: float) -> None:
        """Takes nothing more, lets handlers finish that long, sends the acks."""
        self._closing = True
        self._waiting.clear()
        while self._idle:
            _wake(self._idle.popleft())
        if self._outage is not None:
            self._outage.cancel()
        if self._answer is not None:
            self._answer.cancel()
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        working = asyncio.gather(*self._workers, return_exceptions=True)
        waited_for: set[asyncio.Future[Any]] = {working, timer}
        await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        left = [timer, *self._workers, *([self._outage] if self._outage is not None else [])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, working, return_exceptions=True)
        self._flush()

    async def attach(self, wire: Wire) -> None:
        """Consumes over this connection; raises ChannelClosedError.

        Returns after some seconds too when the queue does not answer: it is `silent` then, and holds up no other one.
        """
        channel = await Channel.open(wire)
        self._acks = AckWindow()
        self._waiting.clear()
        channel.route_content(self)
        channel.closed.add_done_callback(lambda _: self._lost(channel))
        await channel.qos(PREFETCH)
        self._channel = channel
        if self._outage is None:
            await self._consume(channel)

    async def _consume(self, channel: Channel) -> None:
        self._consuming = True
        # A tag of its own each time: RabbitMQ 3.10 breaks off (541) when one comes again while messages are unacked.
        self._consumers += 1
        answer = asyncio.ensure_future(channel.consume(self.queue.name, self._tag))
        timer = asyncio.ensure_future(self._clock.sleep(ANSWER_SECONDS))
        waited_for: set[asyncio.Future[Any]] = {answer, timer}
        try:
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            answer.cancel()
            raise
        finally:
            timer.cancel()
        if answer.done():
            await answer
            return
        # Asked once, and not again: the broker keeps the question until the queue has a leader or is deleted, and each
        # further one would hold another of its channels.
        self._answer = answer
        answer.add_done_callback(self._answered)
        self._log.error(
            "a queue takes no consumer though RabbitMQ answers; it has no leader, and is waited for",
            queue=self.queue.name,
            remedy=no_leader(self.queue.name, channel.virtual_host),
        )

    def _answered(self, answer: asyncio.Future[None]) -> None:
        if self._answer is answer:
            self._answer = None
        if not answer.cancelled() and answer.exception() is None:
            self._log.info("a queue takes its consumer again", queue=self.queue.name)

    @property
    def _tag(self) -> str:
        return f"deliveries-{self._consumers}"

    def _lost(self, channel: Channel) -> None:
        if self._channel is channel:
            self._channel = None
            self._consuming = False
            self._waiting.clear()
            if self._got is not None and not self._got.done():
                self._got.set_result(False)
            if not self._closing:
                self._log.warning(
                    "the channel that consumes was closed; it is opened again",
                    queue=self.queue.name,
                    reason=channel.closed.result().message,
                )
            self._changed()

    # --- what the channel receives ---

    def delivered(self, message: Incoming) -> None:
        channel = self._channel
        if channel is None:
            return
        self._waiting.append(_Held(message, channel, self._acks))
        if self._got is not None:
            if not self._got.done():
                self._got.set_result(True)
        elif self._idle and self._outage is None:
            _wake(self._idle.popleft())

    def cancelled(self) -> None:
        """The queue was deleted, or its node is gone: everything anew."""
        self._log.warning(
            "the broker ended the consumer: its queue was deleted or moved; it is declared again", queue=self.queue.name
        )
        if self._channel is not None:
            self._channel.close()

    def empty(self) -> None:
        if self._got is not None and not self._got.done():
            self._got.set_result(False)

    def confirmed(self, tag: int, *, multiple: bool, kept: bool) -> None: ...

    # --- working ---

    async def _work(self) -> None:
        while not self._closing:
            if not self._waiting or self._outage is not None:
                idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._idle.append(idle)
                await idle
                continue
            held = self._waiting.popleft()
            if self._waiting and self._idle:
                _wake(self._idle.popleft())
            if held.channel is not self._channel:
                continue  # it came by a connection that is gone, and comes again
            if is_uncounted(held.incoming):
                self._count(held)
                continue
            try:
                await self._deliver(held)
            except UnavailableError as error:
                self._waiting.appendleft(held)
                self._begin_outage(error)

    async def _deliver(self, held: _Held) -> None:
        """Handles one message once; UnavailableError means that it was not handled and nothing is to be counted."""
        deliveries = deliveries_of(held.incoming)
        try:
            if deliveries > self.queue.max_deliveries:
                raise RejectDelivery(  # noqa: TRY301  # it ends as if the handler had said so
                    f"delivered {deliveries - 1} times and never answered for: its processes ended meanwhile"
                )
            await self._handler(held.incoming, deliveries)
        except UnavailableError:
            raise
        except RejectDelivery as rejected:
            self._bury(held, message_of(self.queue.name, held.incoming), rejected.reason)
        except Exception as error:  # noqa: BLE001  # whatever a handler raised: again, then the dead letters
            self._failed(held, message_of(self.queue.name, held.incoming), error)
        else:
            self._done(held)

    def _failed(self, held: _Held, message: Message, error: Exception) -> None:
        self._log.error("delivery failed", queue=self.queue.name, event_id=message.message_id, exc_info=error)
        if message.deliveries < self.queue.max_deliveries:
            self._retry(held, message)
        else:
            reason = f"failed {message.deliveries} times, last with {type(error).__name__}: {error}"
            self._bury(held, message, reason)

    def _done(self, held: _Held) -> None:
        held.acks.done(held.incoming.tag)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        channel = self._channel
        if channel is None:
            return
        acks = self._acks.flush()
        if acks:
            number = channel.number
            channel.send(b"".join(frames.ack(number, tag, multiple=multiple) for tag, multiple in acks))

    def _retry(self, held: _Held, message: Message) -> None:
        step = retry_queue(self.queue.name, self.queue.pause(message.deliveries))
        self._send_on(held, message, step, counted(message, message.deliveries))

    def _count(self, held: _Held) -> None:
        """A classic queue counts nothing: the delivery that its process did not outlive is written down by us."""
        message = message_of(self.queue.name, held.incoming)
        self._send_on(held, message, self.queue.name, counted(message, message.deliveries))

    async def _give_all_back(self) -> None:
        """To the end of its queue, as often delivered as before; there when this returns, or still with us."""
        answers: list[asyncio.Future[None]] = []
        while self._waiting:
            held = self._waiting.popleft()
            if held.channel is self._channel:
                message = message_of(self.queue.name, held.incoming)
                again = counted(message, message.deliveries - 1)
                answers.append(self._send_on(held, message, self.queue.name, again))
        await asyncio.gather(*answers, return_exceptions=True)

    def _bury(self, held: _Held, message: Message, reason: str) -> None:
        self._log.error("event dead-lettered", queue=self.queue.name, event_id=message.message_id, reason=reason)
        self._send_on(held, message, DEAD, buried(message, self.queue.name, reason, self._ids.new()))

    def _send_on(self, held: _Held, message: Message, queue: str, headers: Headers) -> asyncio.Future[None]:
        answer = self._publisher.publish("", queue, with_headers(message, headers), message.body, mandatory=True)
        answer.add_done_callback(partial(self._sent_on, held))
        return answer

    def _sent_on(self, held: _Held, answer: asyncio.Future[None]) -> None:
        if answer.cancelled():
            return
        error = answer.exception()
        if error is None:
            self._done(held)
        elif held.channel is self._channel and not self._closing:
            # Not taken, perhaps: it stays ours, and is handled once more when the broker is itself again.
            self._waiting.append(held)
            self._begin_outage(error)

    # --- an outage of what the handler needs ---

    def _begin_outage(self, error: BaseException) -> None:
        if self._outage is None and not self._closing:
            self._log.warning("deliveries stopped", queue=self.queue.name, reason=str(error))
            self._outage = asyncio.create_task(self._sit_out(), name=f"outage of {self.queue.name}")

    async def _sit_out(self) -> None:
        """Tries one message again and again; nothing is counted, and nothing new is taken meanwhile."""
        begun = self._clock.monotonic()
        try:
            while True:
                await self._clock.sleep(TRY_AGAIN_SECONDS)
                if self._clock.monotonic() - begun >= HOLD_SECONDS:
                    # Not earlier: the broker counts a delivery that is on its way when its consumer is cancelled, and
                    # by now all that the prefetch allows is here.
                    await self._stop_consuming()
                    await self._give_all_back()
                if await self._try_one():
                    break
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001  # the loop goes on, whatever ended the waiting
            self._log.error("the waiting for an outage broke off", queue=self.queue.name, exc_info=True)
        self._outage = None
        self._log.info("deliveries go on", queue=self.queue.name)
        for _ in range(min(len(self._idle), max(1, len(self._waiting)))):
            _wake(self._idle.popleft())
        await self._consume_again()

    async def _stop_consuming(self) -> None:
        if self._channel is not None and self._consuming:
            self._consuming = False
            with contextlib.suppress(ChannelClosedError):
                await self._channel.cancel(self._tag)

    async def _consume_again(self) -> None:
        if self._channel is not None and not self._consuming:
            with contextlib.suppress(ChannelClosedError):  # lost meanwhile: whoever attaches it anew consumes
                await self._consume(self._channel)

    async def _try_one(self) -> bool:
        """Whether the outage is over, found out with one message; an empty queue has nobody to be away for."""
        if not self._waiting and not await self._ask_for_one():
            return self._channel is not None
        if not self._waiting:
            return False
        held = self._waiting.popleft()
        try:
            await self._deliver(held)
        except UnavailableError:
            if held.channel is self._channel:
                self._waiting.appendleft(held)
            return False
        return True

    async def _ask_for_one(self) -> bool:
        channel = self._channel
        if channel is None:
            return True
        self._got = asyncio.get_running_loop().create_future()
        channel.ask_for_one(self.queue.name)
        try:
            return await self._got
        finally:
            self._got = None


def _wake(idle: asyncio.Future[None]) -> None:
    if not idle.done():
        idle.set_result(None)
