"""The event bus over RabbitMQ."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

from callboard.clock import Clock
from callboard.errors import InvalidInputError, UnavailableError
from callboard.ids import Ids, RandomIds
from callboard.logs import StructuredLogger, bind_trace
from callboard.messaging.delivery import DeadLetterSink, Delivery, Handler, Queue, RejectDelivery
from callboard.messaging.event_bus import QueueInfo
from callboard.messaging.events import Event
from callboard.messaging.foreign_events import VIA_BUS
from callboard.messaging.message import Message, MessageHandler
from callboard.messaging.rabbitmq.channel import Channel, ChannelClosedError
from callboard.messaging.rabbitmq.dead_letters import letter_of
from callboard.messaging.rabbitmq.declaration import INBOX_QUEUE, DeclarationError, QueueType, Topology
from callboard.messaging.rabbitmq.delivery_loop import DeliveryLoop, IncomingHandler
from callboard.messaging.rabbitmq.failures import no_leader
from callboard.messaging.rabbitmq.link import Link
from callboard.messaging.rabbitmq.properties import EventProperties, message_of
from callboard.messaging.rabbitmq.publisher import NoQueueError, Publisher
from callboard.messaging.rabbitmq.wake_queue import Listeners, WakeQueue
from callboard.messaging.rabbitmq.wire import Incoming, Wire
from callboard.messaging.topology import DEAD, EXCHANGE, INBOX, MAX_DELIVERIES, retry_queue
from callboard.messaging.wakeup import WakeUp

CLOSE_SECONDS = 5.0
"""So long a handler may take to finish when the bus closes."""
DEPOSIT_SECONDS = 0.8
"""With the time until the next look at it, under a second."""
PING_SECONDS = 1.0
NOWHERE = "callboard.nowhere"
"""A queue that there is not: what goes there is confirmed and forgotten."""
STALLED_SECONDS = 10.0
"""A broker that has not confirmed a message for so long is taken for frozen: the connection is made anew."""
WATCH_SECONDS = 0.2
ASSERT_SECONDS = 30.0
"""So often everything is declared and bound once more: what somebody took away at the broker says nothing."""
REPAIR_SECONDS = 1.0
LONGEST_REPAIR_SECONDS = 5.0


class RabbitEventBus:
    """The `EventBus` port over RabbitMQ, with queues and dead letters that outlive every process.

    Two connections: an alarm stops the one that publishes, and must not stop acks and wake-ups. `start` does not wait
    for the broker; both are opened again for ever, and what was bound and consumed is restored.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        process_id: str,
        name: str = "callboard",
        dead_letter: DeadLetterSink | None = None,
        queue_type: QueueType = "quorum",
        max_deliveries: int = MAX_DELIVERIES,
        declares: bool = False,
        ids: Ids | None = None,
        close_seconds: float = CLOSE_SECONDS,
    ) -> None:
        """`dead_letter`: this process drains `callboard.dead` into it. `declares`: it declares the inbox at each
        connection, as the role event-bus does. `queue_type` is that of every queue that lasts, `max_deliveries` that of
        the inbox.

        Raises InvalidInputError for an address that cannot be read.
        """
        self._clock = clock
        self._ids = ids or RandomIds()
        self._properties = EventProperties(process_id)
        self._publisher = Publisher(clock)
        self._topology = Topology(queue_type, max_deliveries)
        self._declares = declares
        self._listeners = Listeners()
        self._changed = asyncio.Event()
        self._wake_queue = WakeQueue(self._listeners, process_id, self._changed.set)
        self._loops: dict[str, DeliveryLoop] = {}
        self._signals: dict[str, None] = {}
        self._out = Link(url, clock, self._ids, f"{name} {process_id} out", self._publish_over)
        self._in = Link(url, clock, self._ids, f"{name} {process_id} in", self._consume_over)
        self._asking: Wire | None = None
        self._watching: asyncio.Task[None] | None = None
        self._close_seconds = close_seconds
        self._complete = False
        self._deposits = False
        self._open = False
        self._log = StructuredLogger("event-bus")
        if dead_letter is not None:
            self._drain_into(dead_letter)

    async def start(self) -> None:
        self._open = True
        for loop in self._loops.values():
            loop.start()
        self._publisher.detach(f"RabbitMQ at {self._out.address} has not answered yet")
        self._out.start()
        self._in.start()
        self._watching = asyncio.create_task(self._watch(), name="rabbitmq watch")

    async def close(self) -> None:
        self._open = False
        await asyncio.gather(*(loop.close(self._close_seconds) for loop in self._loops.values()))
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await asyncio.gather(self._out.close(), self._in.close())
        self._publisher.detach("the bus is closed")

    async def ping(self) -> None:
        """Sends a message that goes nowhere, and waits for its confirm."""
        if not self._open:
            raise UnavailableError("the bus is closed")
        for link in (self._out, self._in):
            if link.trouble is not None:
                raise UnavailableError(link.trouble)
        if self._publisher.trouble is not None:
            raise UnavailableError(self._publisher.trouble)
        detached = [name for name, loop in self._loops.items() if not loop.attached]
        if detached:
            raise UnavailableError(f"nothing is consumed from {', '.join(detached)}")
        silent = [name for name, loop in self._loops.items() if loop.silent]
        if silent:
            raise UnavailableError(f"queue {silent[0]} has no leader: {no_leader(silent[0], self._in.address.vhost)}")
        await self._publisher.publish("", NOWHERE, self._properties.signal, b"", within_seconds=PING_SECONDS)

    def publish(self, event: Event) -> asyncio.Future[None]:
        self._listeners.wake(event.topic, signal=False)
        if event.actor.via == VIA_BUS:
            # Another system has put it on the exchange; its subscribers must not get it twice.
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            answer.set_result(None)
            return answer
        return self._publisher.publish(EXCHANGE, event.topic, self._properties.of_event(event), event.to_json())

    async def deposit(self, event: Event, dedupe_keys: tuple[str, ...]) -> None:
        properties = self._properties.of_deposit(event, dedupe_keys)
        try:
            await self._publisher.publish(
                "", INBOX, properties, event.to_json(), mandatory=True, within_seconds=DEPOSIT_SECONDS
            )
        except NoQueueError:
            self._deposits = True  # whoever has deposits declares the inbox himself from now on
            self._anew()
            raise

    def subscribe(self, queue: Queue, handler: Handler) -> None:
        async def handle(incoming: Incoming, deliveries: int) -> None:
            event = _event_of(incoming, deliveries)
            with bind_trace(event.trace_id):
                await handler(Delivery(queue=queue.name, event=event, deliveries=deliveries))

        self._attach(queue, handle)

    def consume(self, queue: Queue, handler: MessageHandler) -> None:
        """Like `subscribe`, for a queue whose messages may be anything."""

        async def handle(incoming: Incoming, _deliveries: int) -> None:
            await handler(message_of(queue.name, incoming))

        self._attach(queue, handle)

    def _attach(self, queue: Queue, handler: IncomingHandler) -> None:
        if queue.name in self._loops:
            raise ValueError(f"queue {queue.name!r} has a handler already")
        loop = DeliveryLoop(queue, handler, self._publisher, self._clock, self._ids, self._changed.set)
        self._loops[queue.name] = loop
        if self._open:
            loop.start()
        self._changed.set()

    def signal(self, topic: str) -> None:
        self._listeners.wake(topic, signal=True)
        if not self._signals:
            asyncio.get_running_loop().call_soon(self._send_signals)
        self._signals[topic] = None

    def listen(self, patterns: Iterable[str], *, signals: bool = True) -> WakeUp:
        wake = self._listeners.add(patterns, signals=signals)
        self._changed.set()
        return wake

    async def declare(self) -> None:
        """Declares the whole topology once; raises UnavailableError without a connection.

        A bus that `declares` does so at each connection.
        """
        wire = self._asking
        if wire is None:
            raise UnavailableError(self._in.trouble or f"RabbitMQ at {self._in.address} has not answered yet")
        try:
            await self._topology.exchanges(wire)
            await self._topology.inbox(wire)
        except (ChannelClosedError, DeclarationError) as error:
            raise UnavailableError(error.message) from error

    async def get_queue_info(self) -> list[QueueInfo]:
        """Every queue of the topology; raises UnavailableError without a connection."""
        wire = self._asking
        if wire is None:
            raise UnavailableError(self._in.trouble or f"RabbitMQ at {self._in.address} has not answered yet")
        retries = [retry_queue(INBOX, seconds) for seconds in dict.fromkeys(INBOX_QUEUE.retry_seconds)]
        found: list[QueueInfo] = []
        for name in dict.fromkeys((INBOX, *retries, DEAD, *self._loops)):
            try:
                answer = await self._topology.queue_info(wire, name)
            except ChannelClosedError as error:
                raise UnavailableError(f"RabbitMQ does not tell about {name}: {error.message}") from error
            messages, consumers = answer or (0, 0)
            found.append(QueueInfo(name=name, messages=messages, consumers=consumers, exists=answer is not None))
        return found

    # --- sessions ---

    async def _publish_over(self, wire: Wire) -> None:
        wire.add_on_connection_blocked_callback(self._on_blocked)
        wire.add_on_connection_unblocked_callback(self._on_unblocked)
        pause = _Pause(self._clock)
        try:
            while True:
                try:
                    await self._topology.exchanges(wire)
                    channel = await Channel.open(wire)
                    await channel.confirm_delivery()
                except (ChannelClosedError, DeclarationError) as error:
                    self._publisher.detach(error.message)
                    self._log.warning("cannot publish; trying again", reason=error.message)
                    await pause.longer()
                    continue
                self._publisher.attach(channel)
                self._out.ready()
                closed = await channel.closed
                self._publisher.detach(closed.message)
                self._anew()
                self._log.warning(
                    "the broker closed the channel that publishes; it is opened again", reason=str(closed)
                )
                await pause.longer()
        finally:
            self._publisher.detach(self._out.trouble or f"the connection to RabbitMQ at {self._out.address} was lost")

    async def _consume_over(self, wire: Wire) -> None:
        self._asking = wire
        pause, told = _Pause(self._clock), ""
        try:
            while True:
                self._changed.clear()
                try:
                    await self._restore(wire)
                except (ChannelClosedError, DeclarationError) as error:
                    if error.message != told:
                        self._log.warning("cannot consume yet; trying again", reason=error.message)
                    told = error.message
                    await pause.longer()
                    continue
                if told:
                    self._log.info("consuming again")
                    told = ""
                self._in.ready()
                await self._until_changed()
        finally:
            self._asking = None
            self._wake_queue.detach()

    async def _until_changed(self) -> None:
        timer = asyncio.ensure_future(self._clock.sleep(ASSERT_SECONDS))
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({timer, changed}, return_when=asyncio.FIRST_COMPLETED)
            self._complete = self._complete and not timer.done()
        finally:
            timer.cancel()
            changed.cancel()

    def _anew(self) -> None:
        """Something that was declared has gone: everything is declared once more."""
        self._complete = False
        self._changed.set()

    async def _restore(self, wire: Wire) -> None:
        """Makes what is missing on this connection: exchanges, queues, bindings, consumers."""
        complete = self._complete and self._in.up.is_set()
        if not complete:
            await self._topology.exchanges(wire)
            if self._declares or self._deposits:
                await self._topology.inbox(wire)
        await self._wake_queue.attach(wire, anew=not complete)
        for loop in tuple(self._loops.values()):
            if not complete or not loop.attached:
                await self._declare_queue(wire, loop.queue)
            if not loop.attached:
                await loop.attach(wire)
        if not self._in.up.is_set():
            self._listeners.wake_all()
        self._complete = True

    async def _declare_queue(self, wire: Wire, queue: Queue) -> None:
        if queue.name == INBOX:
            await self._topology.inbox(wire)
        else:
            await self._topology.queue(wire, queue)

    def _on_blocked(self, _: Wire, method: object) -> None:
        reason = getattr(getattr(method, "method", None), "reason", "")
        text = f"RabbitMQ at {self._out.address} takes no messages ({reason}): free its disk or memory"
        self._publisher.block(text)
        self._log.warning("RabbitMQ has raised an alarm", reason=text)

    def _on_unblocked(self, _: Wire, __: object) -> None:
        self._publisher.unblock()
        self._log.info("RabbitMQ takes messages again")

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(WATCH_SECONDS)
            self._publisher.expire()
            if self._publisher.trouble is None and self._publisher.waited_seconds() > STALLED_SECONDS:
                reason = (
                    f"RabbitMQ at {self._out.address} has not confirmed a message for {self._publisher.oldest_key!r} "
                    f"within {STALLED_SECONDS:g} s: it is frozen, or a queue that the message goes to has no leader"
                )
                self._publisher.detach(reason)
                self._out.drop(reason)

    def _send_signals(self) -> None:
        topics, self._signals = self._signals, {}
        for topic in topics:
            self._publisher.tell(EXCHANGE, topic, self._properties.signal)

    def _drain_into(self, sink: DeadLetterSink) -> None:
        async def drain(message: Message) -> None:
            await sink(letter_of(message))

        # A letter that cannot be kept for whatever reason stays in its queue.
        self.consume(Queue(name=DEAD, patterns=(), max_deliveries=NEVER), drain)


NEVER = 1_000_000


@dataclass(eq=False)
class _Pause:
    """1 s, 2 s, 4 s and then 5 s."""

    clock: Clock
    seconds: float = REPAIR_SECONDS

    async def longer(self) -> None:
        await self.clock.sleep(self.seconds)
        self.seconds = min(LONGEST_REPAIR_SECONDS, self.seconds * 2)


def _event_of(incoming: Incoming, deliveries: int) -> Event:
    try:
        event = Event.from_json(incoming.body)
    except InvalidInputError as error:
        raise RejectDelivery(error.message) from error
    return event if deliveries == 1 else replace(event, retry_count=deliveries - 1)
