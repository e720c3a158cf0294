"""Publishing with confirms: many in flight, one write a turn of the loop, an answer for each."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.messaging.rabbitmq import frames
from callboard.messaging.rabbitmq.channel import Channel
from callboard.messaging.rabbitmq.confirms import ConfirmWindow
from callboard.messaging.rabbitmq.wire import Incoming

IN_FLIGHT = 1000
"""Publishes that the broker has not answered for; more wait here."""
WAITING = 10_000
"""Publishes that wait; more are refused."""
SEND_AT = 25
"""So many are sent without waiting for the end of the turn: the broker works on them while more are made."""
KNOWN_PLACES = 10_000


class NoQueueError(UnavailableError):
    """A message that must be routed has nowhere to go."""

    code = "no_queue"


@dataclass(eq=False, slots=True)
class _Publish:
    """One message, from the call to the answer."""

    answer: asyncio.Future[None]
    method: bytes
    properties: bytes
    body: bytes
    key: str
    sent_at: float = 0.0


class Publisher:
    """Publishes over the channel that it has at the moment; without one every publish fails at once.

    A publish that the broker did not answer for fails with UnavailableError when the channel is lost, when an alarm
    stops the broker, and when a message that must be routed was returned; it may have arrived all the same.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._channel: Channel | None = None
        self._trouble = "the bus is not started"
        self._window: ConfirmWindow[_Publish] = ConfirmWindow()
        self._waiting: deque[_Publish] = deque()
        self._scheduled = False
        self._blocked: str | None = None
        self._limited: deque[tuple[float, _Publish]] = deque()
        self._places: dict[tuple[str, str, bool], bytes] = {}

    @property
    def trouble(self) -> str | None:
        """Why nothing can be published now, None when it can."""
        return self._blocked or (None if self._channel is not None else self._trouble)

    def attach(self, channel: Channel) -> None:
        """Publishes over this channel, which confirms, from now on."""
        self._window = ConfirmWindow()
        self._places.clear()
        self._blocked = None
        self._channel = channel
        channel.route_content(self)

    def detach(self, reason: str) -> None:
        """Nothing can be published; whatever was not answered for fails."""
        self._channel = None
        self._trouble = reason
        self._blocked = None
        self._fail_all(reason)

    def block(self, reason: str) -> None:
        """The broker has raised an alarm and takes nothing until it is over."""
        self._blocked = reason
        self._fail_all(reason)

    def unblock(self) -> None:
        self._blocked = None

    def publish(
        self,
        exchange: str,
        key: str,
        properties: bytes,
        body: bytes,
        *,
        mandatory: bool = False,
        within_seconds: float | None = None,
    ) -> asyncio.Future[None]:
        """Ends when the broker has it on disk, or with UnavailableError, at the latest soon after `within_seconds`."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        trouble = self.trouble
        if trouble is None and len(self._waiting) >= WAITING:
            trouble = f"RabbitMQ is behind by {WAITING} messages of this process"
        if trouble is not None:
            answer.set_exception(UnavailableError(trouble))
            return answer
        method = self._method(exchange, key, mandatory=mandatory)
        publish = _Publish(answer, method, properties, body, key)
        self._waiting.append(publish)
        if within_seconds is not None:
            self._limited.append((self._clock.monotonic() + within_seconds, publish))
        if len(self._waiting) >= SEND_AT:
            self._send_turn()
        elif not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._send_turn)
        return answer

    def tell(self, exchange: str, key: str, properties: bytes) -> None:
        """A message without a body that may be lost. It is confirmed too, and nobody waits for that."""
        channel = self._channel
        if channel is None or self._blocked is not None:
            return
        method = self._method(exchange, key, mandatory=False)
        self._window.add(_Publish(_nobody(), method, b"", b"", key, self._clock.monotonic()))
        channel.send(method + frames.content(channel.number, properties, b"", channel.frame_max))

    def expire(self) -> None:
        """Fails what has waited for longer than it may."""
        now = self._clock.monotonic()
        while self._limited and (self._limited[0][0] <= now or self._limited[0][1].answer.done()):
            _, publish = self._limited.popleft()
            if not publish.answer.done():
                publish.answer.set_exception(
                    UnavailableError(f"RabbitMQ has not confirmed a message for {publish.key!r} in time")
                )

    def waited_seconds(self) -> float:
        """How long the oldest publish has waited for its confirm."""
        oldest = self._window.oldest()
        return 0.0 if oldest is None else self._clock.monotonic() - oldest.sent_at

    @property
    def oldest_key(self) -> str:
        """Where the publish goes that has waited longest; empty when none waits."""
        oldest = self._window.oldest()
        return "" if oldest is None else oldest.key

    # --- what the channel receives ---

    def confirmed(self, tag: int, *, multiple: bool, kept: bool) -> None:
        for publish in self._window.settle(tag, multiple=multiple):
            answer = publish.answer
            if answer.done():
                continue
            if not kept:
                answer.set_exception(UnavailableError(f"RabbitMQ could not keep a message for {publish.key!r}"))
            else:
                answer.set_result(None)
        if self._waiting and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._send_turn)

    def delivered(self, message: Incoming) -> None:
        """A message came back: it must be routed and cannot; the confirm for it comes next."""
        for publish in self._window.waiting():
            if publish.key == message.routing_key and publish.body == message.body and not publish.answer.done():
                publish.answer.set_exception(
                    NoQueueError(
                        f"RabbitMQ has no queue {publish.key!r} ({message.returned}): start the event-bus role, which "
                        "declares it"
                    )
                )
                return

    def empty(self) -> None: ...

    def cancelled(self) -> None: ...

    def _send_turn(self) -> None:
        self._scheduled = False
        channel, waiting = self._channel, self._waiting
        if channel is None or self._blocked is not None:
            return
        room = IN_FLIGHT - len(self._window)
        now, number, frame_max = self._clock.monotonic(), channel.number, channel.frame_max
        parts: list[bytes] = []
        while waiting and room > 0:
            publish = waiting.popleft()
            publish.sent_at = now
            self._window.add(publish)
            parts.append(publish.method)
            parts.append(frames.content(number, publish.properties, publish.body, frame_max))
            room -= 1
        if parts:
            channel.send(b"".join(parts), now=True)

    def _method(self, exchange: str, key: str, *, mandatory: bool) -> bytes:
        place = (exchange, key, mandatory)
        method = self._places.get(place)
        if method is None:
            if len(self._places) >= KNOWN_PLACES:
                self._places.clear()
            number = self._channel.number if self._channel is not None else 0
            method = self._places[place] = frames.publish_method(number, exchange, key, mandatory=mandatory)
        return method

    def _fail_all(self, reason: str) -> None:
        left = [*self._window.clear(), *self._waiting]
        self._waiting.clear()
        for publish in left:
            if not publish.answer.done():
                publish.answer.set_exception(UnavailableError(reason))
                # An answer that nobody waits for any more is no defect.
                publish.answer.exception()


def _nobody() -> asyncio.Future[None]:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    answer.set_result(None)
    return answer
