"""Which loops each role runs (DESIGN.md, "Two deployments, one code").

A loop that ends or raises stops its process with a reason. They stop in the reverse of the order here: first nobody
lets new work in, then what is under way ends, then it is told, and last the leases and the outbox go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from callboard.agents.pool import AgentPool
from callboard.agents.vital_signs import VitalSigns
from callboard.config.catalog_reader import CatalogReader
from callboard.config.configuration_service import ConfigurationService
from callboard.integrations.http_server import HttpServer
from callboard.integrations.slack_responder import SlackResponder
from callboard.lifecycle import Loop, StopSignal
from callboard.messaging.wakeup import WakeUp
from callboard.orchestrator.agent_orchestrator import AgentOrchestrator
from callboard.orchestrator.sweeper import Sweeper
from callboard.scheduler.ticker import Ticker
from callboard.state.lease import ProcessLease
from callboard.state.outbox import Outbox

NamedLoop = tuple[str, Loop]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the loops are made of."""

    outbox: Outbox
    lease: ProcessLease
    sweeper: Sweeper
    configuration: ConfigurationService
    catalog: CatalogReader
    responder: SlackResponder
    deliveries_wake: WakeUp
    orchestrator: AgentOrchestrator
    pools: Sequence[AgentPool]
    vital_signs: VitalSigns
    ticker: Ticker
    server: HttpServer


def embedded(parts: Parts) -> list[NamedLoop]:
    """Every role in one process."""
    return [
        *event_bus(parts),
        *state_manager(parts),
        *config_service(parts),
        *slack_out(parts),
        *agent_orchestrator(parts),
        *agent_pools(parts),
        ("ticker", forever(parts.ticker.run)),
        ("http", parts.server.run),
    ]


def event_bus(parts: Parts) -> list[NamedLoop]:
    return [("outbox relay", forever(parts.outbox.relay)), ("outbox forget", forever(parts.outbox.forget))]


def state_manager(parts: Parts) -> list[NamedLoop]:
    return [
        ("lease", forever(parts.lease.run)),
        ("watchdog", forever(parts.lease.watch_loop)),
        ("sweeper", forever(parts.sweeper.run)),
    ]


def config_service(parts: Parts) -> list[NamedLoop]:
    async def watch(stop: StopSignal) -> None:
        await parts.configuration.run(stop.wait)

    return [("config watch", watch), ("catalog", forever(parts.catalog.follow))]


def slack_out(parts: Parts) -> list[NamedLoop]:
    async def wake() -> None:
        while True:
            await parts.deliveries_wake.wait()
            parts.responder.wake()

    return [("slack responder", parts.responder.run), ("slack responder wake", forever(wake))]


def agent_orchestrator(parts: Parts) -> list[NamedLoop]:
    return [("orchestrator", forever(parts.orchestrator.run))]


def agent_pools(parts: Parts) -> list[NamedLoop]:
    """All pools of a process drain together, within the one time there is."""

    async def work(stop: StopSignal) -> None:
        async with asyncio.TaskGroup() as loops:
            for pool in parts.pools:
                loops.create_task(pool.run(), name=f"{pool.mode} pool")
            beside = [
                loops.create_task(loop())
                for loop in (
                    parts.vital_signs.run,
                    *(pool.watch_deadlines for pool in parts.pools),
                    *(pool.flush_idle for pool in parts.pools),
                )
            ]
            await stop.wait()
            remaining = stop.remaining_seconds()
            # What is left of the time goes to telling and to giving back the leases.
            seconds = None if remaining is None else max(0.0, remaining * 0.8)
            await asyncio.gather(*(pool.drain(seconds) for pool in parts.pools))
            for task in beside:
                task.cancel()

    return [("pools", work)]


def forever(run: Callable[[], Awaitable[None]]) -> Loop:
    """A loop that has nothing to drain: it is cancelled when it is told to stop."""

    async def loop(stop: StopSignal) -> None:
        running = asyncio.ensure_future(run())
        asked = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await running
                return
        finally:
            asked.cancel()
            running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    return loop
