"""The bus adapters that the contract suite runs over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType

from callboard.clock import ManualClock
from callboard.messaging.delivery import DeadLetterSink
from callboard.messaging.event_bus import EventBus
from callboard.messaging.local import LocalEventBus

OpenBus = Callable[[ManualClock, DeadLetterSink], AbstractAsyncContextManager[EventBus]]


@contextlib.asynccontextmanager
async def local_bus(clock: ManualClock, dead_letter: DeadLetterSink) -> AsyncIterator[EventBus]:
    bus = LocalEventBus(clock, dead_letter)
    await bus.start()
    try:
        yield bus
    finally:
        closing = asyncio.ensure_future(bus.close())
        while not closing.done():  # a handler that hangs is waited for on the clock of the test
            await clock.advance(1.0)
        await closing


BUSES: Mapping[str, OpenBus] = MappingProxyType({"local": local_bus})
