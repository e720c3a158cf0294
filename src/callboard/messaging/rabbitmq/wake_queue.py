"""The queue of one process that only wakes: exclusive, transient, short, gone with its connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from callboard.messaging.rabbitmq.channel import Channel
from callboard.messaging.rabbitmq.properties import is_signal
from callboard.messaging.rabbitmq.wire import Incoming, Wire
from callboard.messaging.routing import matches_any
from callboard.messaging.topology import EXCHANGE
from callboard.messaging.wakeup import WakeUp

LONGEST = 1000
"""Messages; of more the oldest are dropped, since all of them say the same."""
KNOWN_TOPICS = 10_000


class Listeners:
    """Who wants to be woken by which topics."""

    def __init__(self) -> None:
        self._all: list[tuple[tuple[str, ...], bool, WakeUp]] = []
        self._heard: dict[tuple[str, bool], tuple[WakeUp, ...]] = {}

    def add(self, patterns: Iterable[str], *, signals: bool) -> WakeUp:
        wake = WakeUp()
        self._all.append((tuple(patterns), signals, wake))
        self._heard.clear()
        return wake

    def patterns(self) -> frozenset[str]:
        return frozenset(pattern for patterns, _, _ in self._all for pattern in patterns)

    def wake(self, topic: str, *, signal: bool) -> None:
        heard = self._heard.get((topic, signal))
        if heard is None:
            if len(self._heard) >= KNOWN_TOPICS:
                self._heard.clear()
            heard = self._heard[topic, signal] = tuple(
                wake
                for patterns, signals, wake in self._all
                if (signals or not signal) and matches_any(patterns, topic)
            )
        for wake in heard:
            wake.set()

    def wake_all(self) -> None:
        """Something may have been missed."""
        for _, _, wake in self._all:
            wake.set()


class WakeQueue:
    """Binds the union of the patterns that are listened to, and wakes the listeners."""

    def __init__(self, listeners: Listeners, process_id: str, changed: Callable[[], None]) -> None:
        """`changed` is called when the queue has to be made again."""
        self._listeners = listeners
        self._process = process_id.encode()
        self._changed = changed
        self._channel: Channel | None = None
        self._queue = ""
        self._bound: set[str] = set()

    async def attach(self, wire: Wire, *, anew: bool) -> None:
        """Makes the queue if it is not there, and binds what is listened to by now, or all of it anew.

        Raises ChannelClosedError.
        """
        channel = self._channel
        if channel is None or not channel.is_open:
            channel = await Channel.open(wire)
            channel.route_content(self)
            self._queue, _, _ = await channel.queue_declare(
                "", durable=False, exclusive=True, auto_delete=True, arguments={"x-max-length": LONGEST}
            )
            self._bound.clear()
            await channel.consume(self._queue, "wake", auto_ack=True)
            self._channel = channel
            channel.closed.add_done_callback(lambda _: self._changed())
        if anew:
            self._bound.clear()
        wanted = self._listeners.patterns()
        for pattern in sorted(wanted - self._bound):
            await channel.queue_bind(self._queue, EXCHANGE, pattern)
            self._bound.add(pattern)

    def detach(self) -> None:
        self._channel = None

    def delivered(self, message: Incoming) -> None:
        if self._process not in message.properties:  # what this process publishes wakes it without a detour
            self._listeners.wake(message.routing_key, signal=is_signal(message))

    def cancelled(self) -> None:
        """Somebody deleted the queue."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        self._changed()

    def empty(self) -> None: ...

    def confirmed(self, tag: int, *, multiple: bool, kept: bool) -> None: ...
