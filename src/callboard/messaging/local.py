"""The bus of one process: no tables, no server; the outbox is its memory (DESIGN.md, "The bus")."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.messaging.delivery import DeadLetterSink, Delivery, Handler, Queue, RejectDelivery, Undeliverable
from callboard.messaging.events import Event
from callboard.messaging.routing import matches_any
from callboard.messaging.wakeup import WakeUp

UNAVAILABLE_PAUSE_SECONDS = 1.0
CLOSE_SECONDS = 5.0
"""So long a handler may take to finish when the bus closes."""
KNOWN_TOPICS = 10_000


@dataclass(eq=False, slots=True)
class _Answer:
    """What a publisher waits for: that every queue the event went to is done with it."""

    future: asyncio.Future[None]
    open_ends: int

    def one_done(self) -> None:
        self.open_ends -= 1
        if self.open_ends == 0 and not self.future.done():
            self.future.set_result(None)


@dataclass(eq=False, slots=True)
class _Bound:
    """A queue, its handler, and what waits in it."""

    queue: Queue
    handler: Handler
    waiting: deque[tuple[Delivery, _Answer]] = field(default_factory=deque)
    wake: WakeUp = field(default_factory=WakeUp)


@dataclass(frozen=True, slots=True)
class _Route:
    """Who hears a topic."""

    queues: tuple[_Bound, ...]
    listeners: tuple[WakeUp, ...]
    signalled: tuple[WakeUp, ...]


class LocalEventBus:
    """The `EventBus` port inside one process: one delivery loop a queue, no task a message."""

    def __init__(self, clock: Clock, dead_letter: DeadLetterSink) -> None:
        self._clock = clock
        self._dead_letter = dead_letter
        self._log = StructuredLogger("event-bus")
        self._bound: dict[str, _Bound] = {}
        self._listeners: list[tuple[tuple[str, ...], bool, WakeUp]] = []
        self._routes: dict[str, _Route] = {}
        self._delivering: set[asyncio.Task[None]] = set()
        self._pausing: set[asyncio.Task[None]] = set()
        self._unanswered: set[asyncio.Future[None]] = set()
        self._open = False

    async def start(self) -> None:
        self._open = True
        for bound in self._bound.values():
            self._spawn(bound)

    async def close(self) -> None:
        self._open = False
        for bound in self._bound.values():
            bound.wake.set()
        timer = asyncio.ensure_future(self._clock.sleep(CLOSE_SECONDS))
        handling = asyncio.gather(*self._delivering, return_exceptions=True)
        waited_for: set[asyncio.Future[Any]] = {handling, timer}
        await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        left = (timer, *self._delivering, *self._pausing)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, handling, return_exceptions=True)
        for bound in self._bound.values():
            bound.waiting.clear()
        for answer in tuple(self._unanswered):
            answer.set_exception(UnavailableError("the bus was closed before the event was handled"))

    async def ping(self) -> None:
        if not self._open:
            raise UnavailableError("the bus is closed")

    def publish(self, event: Event) -> asyncio.Future[None]:
        route = self._route(event.topic)
        for listener in route.listeners:
            listener.set()
        answer = asyncio.get_running_loop().create_future()
        if not self._open:
            answer.set_exception(UnavailableError("the bus is closed"))
        elif route.queues:
            self._unanswered.add(answer)
            answer.add_done_callback(self._unanswered.discard)
            self._enqueue(route.queues, event, _Answer(answer, len(route.queues)))
        else:
            answer.set_result(None)
        return answer

    async def deposit(self, event: Event, dedupe_keys: tuple[str, ...]) -> None:
        """Never: this bus has no memory of its own."""
        raise UnavailableError(
            f"event {event.event_id} cannot be kept by the bus of one process: it is durable in the database alone"
        )

    def subscribe(self, queue: Queue, handler: Handler) -> None:
        if queue.name in self._bound:
            raise ValueError(f"queue {queue.name!r} has a handler already")
        bound = _Bound(queue, handler)
        self._bound[queue.name] = bound
        self._routes.clear()
        if self._open:
            self._spawn(bound)

    def signal(self, topic: str) -> None:
        for listener in self._route(topic).signalled:
            listener.set()

    def listen(self, patterns: Iterable[str], *, signals: bool = True) -> WakeUp:
        wake = WakeUp()
        self._listeners.append((tuple(patterns), signals, wake))
        self._routes.clear()
        return wake

    def _route(self, topic: str) -> _Route:
        route = self._routes.get(topic)
        if route is None:
            if len(self._routes) >= KNOWN_TOPICS:
                self._routes.clear()
            route = _Route(
                tuple(bound for bound in self._bound.values() if matches_any(bound.queue.patterns, topic)),
                tuple(wake for patterns, _, wake in self._listeners if matches_any(patterns, topic)),
                tuple(wake for patterns, signals, wake in self._listeners if signals and matches_any(patterns, topic)),
            )
            self._routes[topic] = route
        return route

    def _enqueue(self, queues: tuple[_Bound, ...], event: Event, answer: _Answer) -> None:
        for bound in queues:
            bound.waiting.append((Delivery(queue=bound.queue.name, event=event), answer))
            bound.wake.set()

    def _spawn(self, bound: _Bound) -> None:
        task = asyncio.create_task(self._deliver(bound), name=f"queue {bound.queue.name}")
        self._delivering.add(task)
        task.add_done_callback(self._delivering.discard)

    async def _deliver(self, bound: _Bound) -> None:
        while self._open:
            await bound.wake.wait()
            while bound.waiting and self._open:
                delivery, answer = bound.waiting.popleft()
                pause = await self._attempt(bound, delivery)
                if pause is None:
                    answer.one_done()
                else:
                    task = asyncio.create_task(self._again(bound, *pause, answer))
                    self._pausing.add(task)
                    task.add_done_callback(self._pausing.discard)

    async def _attempt(self, bound: _Bound, delivery: Delivery) -> tuple[Delivery, float] | None:
        """Hands the delivery over once; None when it is done with, else what comes again and after how long."""
        event = delivery.event
        try:
            await bound.handler(delivery)
        except RejectDelivery as rejected:
            return await self._bury(delivery, rejected.reason)
        except UnavailableError as error:
            self._log.warning("delivery postponed", queue=delivery.queue, event_id=event.event_id, reason=error.message)
            return delivery, UNAVAILABLE_PAUSE_SECONDS
        except Exception as error:  # noqa: BLE001  # whatever a handler raised: again, then the dead letters
            reason = f"{type(error).__name__}: {error}"
            self._log.error("delivery failed", queue=delivery.queue, event_id=event.event_id, exc_info=True)
            if delivery.deliveries >= bound.queue.max_deliveries:
                return await self._bury(delivery, f"failed {delivery.deliveries} times, last with {reason}")
            again = replace(delivery, event=event.redelivered(), deliveries=delivery.deliveries + 1)
            return again, bound.queue.pause(delivery.deliveries)
        return None

    async def _again(self, bound: _Bound, delivery: Delivery, pause: float, answer: _Answer) -> None:
        await self._clock.sleep(pause)
        bound.waiting.append((delivery, answer))
        bound.wake.set()

    async def _bury(self, delivery: Delivery, reason: str) -> tuple[Delivery, float] | None:
        """To the dead letters; where they cannot be written now, the delivery comes again and nothing is lost."""
        event = delivery.event
        letter = Undeliverable(
            queue=delivery.queue,
            topic=event.topic,
            body=event.to_json(),
            reason=reason,
            deliveries=delivery.deliveries,
            event_id=event.event_id,
            trace_id=event.trace_id,
            tenant=event.tenant,
        )
        try:
            await self._dead_letter(letter)
        except Exception:  # noqa: BLE001  # the queue must go on, and the event must not be forgotten
            self._log.error("dead letter not kept yet", queue=delivery.queue, event_id=event.event_id, exc_info=True)
            return delivery, UNAVAILABLE_PAUSE_SECONDS
        self._log.error("event dead-lettered", queue=delivery.queue, event_id=event.event_id, reason=reason)
        return None
