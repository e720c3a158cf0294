"""A pool over a real database with an engine that the test holds in its hands."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from callboard.agents.assigning import Assigner
from callboard.agents.attempts import Attempts
from callboard.agents.autonomous_agent_pool import AutonomousAgentPool
from callboard.agents.claims import Claims
from callboard.agents.collaborative_agent_pool import CollaborativeAgentPool
from callboard.agents.continuous_agent_runner import ContinuousAgentRunner
from callboard.agents.engine import Outcome, Succeeded, Usage, Work
from callboard.agents.execution_agent import AgentWorkshop
from callboard.agents.performer import Performer
from callboard.agents.pool import AgentPool, pool_slots
from callboard.agents.refusals import Refusals
from callboard.agents.roster import Roster
from callboard.agents.settler import Settler
from callboard.agents.tools.registry import ToolFactory, ToolRegistry
from callboard.agents.tools.run_agent import RUN_AGENT_FACTORY
from callboard.agents.vital_signs import VitalSigns
from callboard.clock import ManualClock
from callboard.config.catalog import Catalog, CatalogEntry
from callboard.config.definition import AgentDefinition
from callboard.ids import SequentialIds
from callboard.llm.provider import Message
from callboard.llm.provider_factory import LLMProviderFactory
from callboard.llm.providers.scripted import ScriptedProvider
from callboard.messaging.local import LocalEventBus
from callboard.metrics import Metrics
from callboard.orchestrator.health_watch import HealthWatch
from callboard.orchestrator.registry import AgentRegistry
from callboard.state.agent_health_store import AgentHealthStore
from callboard.state.artifact_store import ArtifactStore
from callboard.state.dead_letter_store import DeadLetterStore
from callboard.state.journal_store import JournalStore
from callboard.state.outbox import Outbox
from callboard.state.runs import RunResult, RunStatus
from tests.support.databases import AnyDatabase
from tests.support.sqlite_file import open_sqlite
from tests.support.state_house import StateHouse
from tests.support.waiting import wait_until

Does = Callable[[Work], Awaitable[Any]]


@dataclass(eq=False)
class ScriptedEngine:
    """Does with each work what the test says; what is not said succeeds with the input."""

    does: Does | None = None
    seen: list[Work] = field(default_factory=list)

    async def execute(self, work: Work) -> Outcome:
        self.seen.append(work)
        if self.does is not None:
            return await self.does(work)  # type: ignore[no-any-return]  # some tests return what no engine may
        return succeeded(work.input)


def succeeded(output: Any, *messages: Message) -> Succeeded:
    return Succeeded(output=output, messages=messages, usage=Usage(input_tokens=1, output_tokens=2))


async def hangs(_work: Work) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


def definition(name: str = "echo", mode: str = "autonomous", **parts: Any) -> AgentDefinition:
    return AgentDefinition.model_validate(
        {
            "name": name,
            "agent_type": "helper",
            "execution_mode": mode,
            "llm_config": {"provider": "scripted", "model_id": "echo"},
            **parts,
        }
    )


def entry(agent: AgentDefinition, version: int = 1) -> CatalogEntry:
    return CatalogEntry(definition=agent, version=version, digest="d", path="a.yaml", latest=version, latest_digest="d")


def catalog_of(*agents: AgentDefinition, number: int = 1) -> Catalog:
    return Catalog(number=number, agents=MappingProxyType({agent.name: entry(agent) for agent in agents}))


@dataclass(eq=False)
class PoolHouse:
    """`state` has the verbs of everybody else; `pool` is the process `p1`'s."""

    state: StateHouse
    bus: LocalEventBus
    engine: ScriptedEngine
    agents: Catalog
    pools: dict[str, AgentPool]
    health: AgentHealthStore
    registry: AgentRegistry
    vital_signs: VitalSigns
    watch: HealthWatch
    leased: bool = True

    @property
    def clock(self) -> ManualClock:
        return self.state.clock

    @property
    def pool(self) -> AgentPool:
        return self.pools["autonomous"]

    async def later(self, seconds: float, step: float = 0.25) -> None:
        """Time passes in small steps, between which everybody does what has come due."""
        for _ in range(max(1, round(seconds / step))):
            await self.clock.advance(step)
            # Behind whatever they are writing: the database takes real time for it.
            await self.state.database.write(lambda _connection: None)

    async def until(self, run_id: str, status: RunStatus) -> RunResult:
        """Waits while time goes on, slowly, for the run to have the status."""

        async def reached() -> RunResult | None:
            await self.clock.advance(0.05)
            result = await self.state.queries.result(run_id)
            if result is None or result.run.status is not status:
                return None
            # Its pool hears of the end after everybody else: till then the agent is not idle.
            return None if status.terminal and self._in_hand(run_id) else result

        found = await wait_until(reached, f"run {run_id} is {status}")
        assert found is not None
        return found

    def _in_hand(self, run_id: str) -> bool:
        return any(run_id in agent.runs for pool in self.pools.values() for agent in pool.roster.active())

    async def until_begun(self, count: int = 1) -> None:
        async def begun() -> bool:
            await self.clock.advance(0.05)
            return len(self.engine.seen) >= count

        await wait_until(begun, f"{count} works are with the engine")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All pools at work with what runs beside them; drained at the end."""
        loops = [asyncio.ensure_future(pool.run()) for pool in self.pools.values()]
        beside = [
            asyncio.ensure_future(loop())
            for pool in self.pools.values()
            for loop in (pool.watch_deadlines, pool.flush_idle)
        ]
        try:
            yield
        finally:
            drains = [asyncio.ensure_future(pool.drain(0.0)) for pool in self.pools.values()]
            while not all(drain.done() for drain in drains):
                await self.clock.advance(1.0)
                await asyncio.sleep(0.001)
            for task in beside:
                task.cancel()
            await asyncio.gather(*drains)
            await asyncio.gather(*loops, *beside, return_exceptions=True)


@contextlib.asynccontextmanager
async def pool_house(
    folder: Path,
    *agents: AgentDefinition,
    slots: int = 20,
    silent_seconds: float | None = None,
    tools: Mapping[str, ToolFactory] | None = None,
) -> AsyncIterator[PoolHouse]:
    async with open_sqlite(folder) as database:
        house = await _build(database, catalog_of(*(agents or (definition(),))), slots, silent_seconds, tools)
        await house.bus.start()
        try:
            yield house
        finally:
            closing = asyncio.ensure_future(house.bus.close())
            while not closing.done():
                await house.clock.advance(1.0)
            await closing


async def _build(
    database: AnyDatabase,
    agents: Catalog,
    slots: int,
    silent_seconds: float | None,
    tools: Mapping[str, ToolFactory] | None,
) -> PoolHouse:
    state = await StateHouse(database).open()
    clock, ids, engine = state.clock, SequentialIds(), ScriptedEngine()
    bus = LocalEventBus(clock, lambda letter: letters.keep(letter))
    outbox = Outbox(database, bus, clock)
    letters = DeadLetterStore(database, outbox, clock)
    workshop = AgentWorkshop(
        providers=LLMProviderFactory({"scripted": lambda config: ScriptedProvider(config, clock)}, unavailable={}),
        tools=ToolRegistry({**RUN_AGENT_FACTORY, **(tools or {})}),
        engine=engine,
        resolve_secrets=lambda options: options,
        clock=clock,
    )
    health = AgentHealthStore(database, outbox, clock, ids)
    registry = AgentRegistry(lambda: agents, health, workshop.why_unavailable, clock)

    async def catalog(_number: int) -> Catalog:
        return agents

    journals, metrics = JournalStore(database, clock), Metrics()

    def pool(performer: Performer) -> AgentPool:
        roster, refusals = Roster(workshop.make, clock), Refusals(registry.refusal)
        artifacts = ArtifactStore(database, clock)
        return AgentPool(
            performer.mode,
            claims=Claims(
                performer.mode,
                store=state.store,
                process_id="p1",
                may_start=lambda: house.leased,
                refusals=refusals,
                clock=clock,
                ids=ids,
            ),
            attempts=Attempts(
                performer,
                catalog=catalog,
                roster=roster,
                refusals=refusals,
                assigner=Assigner(state.store, journals, metrics, children=state.queries.children, artifacts=artifacts),
                settler=Settler(
                    performer.mode, store=state.store, journals=journals, clock=clock, ids=ids, metrics=metrics
                ),
                clock=clock,
            ),
            roster=roster,
            bus=bus,
            clock=clock,
            slots=pool_slots(slots),
        )

    performers: tuple[Performer, ...] = (
        AutonomousAgentPool(),
        ContinuousAgentRunner(state.states, journals, clock),
        CollaborativeAgentPool(state.states, state.queries.children, catalog, clock),
    )
    pools = {performer.mode: pool(performer) for performer in performers}
    house = PoolHouse(
        state=state,
        bus=bus,
        engine=engine,
        agents=agents,
        pools=pools,
        health=health,
        registry=registry,
        vital_signs=VitalSigns(tuple(pools.values()), health, clock, "p1"),
        watch=HealthWatch(health, clock)
        if silent_seconds is None
        else HealthWatch(health, clock, silent_seconds=silent_seconds),
    )
    return house
