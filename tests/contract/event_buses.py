"""The bus adapters that the contract suite runs over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType

from callboard.clock import Clock, ManualClock, SystemClock
from callboard.messaging.delivery import DeadLetterSink
from callboard.messaging.event_bus import EventBus
from callboard.messaging.local import LocalEventBus
from callboard.messaging.rabbitmq import RabbitEventBus
from tests.support.rabbit_bus import until_it_carries
from tests.support.servers.fresh_vhost import fresh_vhost

STEP = 0.125
"""Seconds that the clock of a test moves at once; a power of two, so that steps add up exactly."""


class TestTime:
    """The clock that a bus is given, and how a test lets time pass on it."""

    __test__ = False

    def __init__(self, manual: ManualClock | None) -> None:
        self._manual = manual
        self.clock: Clock = manual or SystemClock()

    async def passes(self, seconds: float) -> None:
        """Whatever is due meanwhile has been handled when this returns, on a clock that a test can move."""
        for _ in range(max(1, round(seconds / STEP))):
            if self._manual is None:
                await asyncio.sleep(0.02 if seconds == 0 else STEP)
            else:
                await self._manual.advance(min(seconds, STEP))
                for _ in range(5):
                    await asyncio.sleep(0)


@dataclass(frozen=True, kw_only=True)
class OpenedBus:
    """`answers_when_handled`: a publish ends with the handlers, not with the broker's confirm."""

    bus: EventBus
    time: TestTime
    answers_when_handled: bool
    retry_seconds: tuple[float, ...]


OpenBus = Callable[[DeadLetterSink], AbstractAsyncContextManager[OpenedBus]]


@contextlib.asynccontextmanager
async def local_bus(dead_letter: DeadLetterSink) -> AsyncIterator[OpenedBus]:
    clock = ManualClock()
    bus = LocalEventBus(clock, dead_letter)
    await bus.start()
    try:
        yield OpenedBus(bus=bus, time=TestTime(clock), answers_when_handled=True, retry_seconds=(1, 5, 30))
    finally:
        closing = asyncio.ensure_future(bus.close())
        while not closing.done():  # a handler that hangs is waited for on the clock of the test
            await clock.advance(1.0)
        await closing


@contextlib.asynccontextmanager
async def rabbit_bus(dead_letter: DeadLetterSink) -> AsyncIterator[OpenedBus]:
    async with fresh_vhost() as url:
        bus = RabbitEventBus(
            url, SystemClock(), process_id="contract", dead_letter=dead_letter, queue_type="classic", close_seconds=0.5
        )
        await bus.start()
        try:
            await until_it_carries(bus)
            yield OpenedBus(bus=bus, time=TestTime(None), answers_when_handled=False, retry_seconds=(0.1, 0.2))
        finally:
            await bus.close()


BUSES: Mapping[str, OpenBus] = MappingProxyType({"local": local_bus, "rabbitmq": rabbit_bus})
