"""Which loops each role runs (DESIGN.md, "Two deployments, one code").

A loop that ends or raises stops its process with a reason. They stop in the reverse of the order here: first nobody
lets new work in, then what is under way ends, then it is told, and last the leases and the outbox go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from callboard.lifecycle import Loop, StopSignal

if TYPE_CHECKING:  # a role loads what it runs, and nothing of what the others run
    from callboard.agents.pool import AgentPool
    from callboard.agents.tools.project.watch import ProjectToolsWatch
    from callboard.agents.vital_signs import VitalSigns
    from callboard.config.catalog_reader import CatalogReader
    from callboard.config.configuration_service import ConfigurationService
    from callboard.config.models_watch import ModelsWatch
    from callboard.integrations.http_server import HttpServer
    from callboard.integrations.slack_responder import SlackResponder
    from callboard.messaging.wakeup import WakeUp
    from callboard.orchestrator.agent_orchestrator import AgentOrchestrator
    from callboard.orchestrator.availability import AvailabilityReport
    from callboard.orchestrator.paused_runs import PausedRuns
    from callboard.orchestrator.registry import AgentRegistry
    from callboard.orchestrator.sweeper import Sweeper
    from callboard.scheduler.ticker import Ticker
    from callboard.state.database_clock import DatabaseClock
    from callboard.state.lease import ProcessLease
    from callboard.state.outbox import Outbox
    from callboard.state.retention import Retention

NamedLoop = tuple[str, Loop]


def outbox(outbox: Outbox, *, relay: bool) -> list[NamedLoop]:
    """Every process forgets what it has told itself; one role also tells what others left behind."""
    loops = [("outbox forget", forever(outbox.forget))]
    return [("outbox relay", forever(outbox.relay)), *loops] if relay else loops


def database_clock(clock: DatabaseClock) -> list[NamedLoop]:
    return [("database clock", forever(clock.run))]


def lease(lease: ProcessLease) -> list[NamedLoop]:
    return [("lease", forever(lease.run)), ("watchdog", forever(lease.watch_loop))]


def state_manager(sweeper: Sweeper, paused: PausedRuns) -> list[NamedLoop]:
    return [("sweeper", forever(sweeper.run)), ("paused runs", forever(paused.run))]


def retention(retention: Retention) -> list[NamedLoop]:
    return [("retention", forever(retention.run))]


def config_service(configuration: ConfigurationService) -> list[NamedLoop]:
    async def watch(stop: StopSignal) -> None:
        await configuration.run(stop.wait)

    return [("config watch", watch)]


def project_tools(tools: ProjectToolsWatch) -> list[NamedLoop]:
    async def watch(stop: StopSignal) -> None:
        await tools.run(stop.wait)

    return [("project tools", watch)]


def definitions(catalog: CatalogReader) -> list[NamedLoop]:
    return [("catalog", forever(catalog.follow))]


def models_file(models: ModelsWatch | None) -> list[NamedLoop]:
    return [] if models is None else [("models file", forever(models.run))]


def agent_statuses(registry: AgentRegistry, changed: WakeUp) -> list[NamedLoop]:
    return [("agent statuses", forever(lambda: registry.follow(changed)))]


def availability(report: AvailabilityReport) -> list[NamedLoop]:
    return [("availability", forever(report.run))]


def slack_out(responder: SlackResponder, wake: WakeUp) -> list[NamedLoop]:
    async def pass_on() -> None:
        while True:
            await wake.wait()
            responder.wake()

    return [("slack responder", responder.run), ("slack responder wake", forever(pass_on))]


def agent_orchestrator(orchestrator: AgentOrchestrator) -> list[NamedLoop]:
    return [("orchestrator", forever(orchestrator.run))]


def ticks(ticker: Ticker) -> list[NamedLoop]:
    return [("ticker", forever(ticker.run))]


def port(name: str, server: HttpServer) -> list[NamedLoop]:
    return [(name, server.run)]


def agent_pools(pools: Sequence[AgentPool], vital_signs: VitalSigns) -> list[NamedLoop]:
    """All pools of a process drain together, within the one time there is."""

    async def work(stop: StopSignal) -> None:
        async with asyncio.TaskGroup() as loops:
            for pool in pools:
                loops.create_task(pool.run(), name=f"{pool.mode} pool")
            beside = [
                loops.create_task(loop())
                for loop in (
                    vital_signs.run,
                    *(pool.watch_deadlines for pool in pools),
                    *(pool.flush_idle for pool in pools),
                )
            ]
            await stop.wait()
            remaining = stop.remaining_seconds()
            # What is left of the time goes to telling and to giving back the leases.
            seconds = None if remaining is None else max(0.0, remaining * 0.8)
            await asyncio.gather(*(pool.drain(seconds) for pool in pools))
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
