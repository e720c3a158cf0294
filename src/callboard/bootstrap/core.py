"""The bus and the store, which every role stands on."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from callboard.agents.engines.edited_call import EditedCalls
from callboard.agents.engines.tool_rules import ToolRules
from callboard.clock import Clock
from callboard.config.catalog_reader import CatalogReader
from callboard.ids import Ids
from callboard.llm.pattern_search import PatternSearch
from callboard.messaging.delivery import DeadLetterSink
from callboard.messaging.event_bus import EventBus
from callboard.messaging.topology import ALL_CONFIG
from callboard.metrics import Metrics
from callboard.settings import Settings
from callboard.state.agent_health_store import AgentHealthStore
from callboard.state.artifact_store import ArtifactStore
from callboard.state.budget_store import BudgetStore
from callboard.state.cache import Cache, NoCache
from callboard.state.catalog_store import CatalogStore
from callboard.state.database import Database
from callboard.state.dead_letter_store import DeadLetterStore
from callboard.state.delivery_store import DeliveryStore
from callboard.state.mcp_tool_store import McpToolStore
from callboard.state.memory_store import MemoryStore
from callboard.state.outbox import Outbox
from callboard.state.process_store import ProcessStore
from callboard.state.query_store import QueryStore
from callboard.state.state_manager import StateManager
from callboard.state.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """Bus, store and the records in it."""

    settings: Settings
    clock: Clock
    ids: Ids
    process_id: str
    database: Database
    bus: EventBus
    cache: Cache
    outbox: Outbox
    dead_letters: DeadLetterStore
    store: Store
    processes: ProcessStore
    queries: QueryStore
    states: StateManager
    deliveries: DeliveryStore
    artifacts: ArtifactStore
    budgets: BudgetStore
    mcp_tools: McpToolStore
    memory: MemoryStore
    agent_health: AgentHealthStore
    catalogs: CatalogStore
    catalog: CatalogReader
    metrics: Metrics


Bus = TypeVar("Bus", bound=EventBus)
MakeBus = Callable[[str, DeadLetterSink], Bus]
"""From the process's id, and the place where dead letters are kept."""


def make_core(
    settings: Settings, database: Database, make_bus: MakeBus[Bus], clock: Clock, ids: Ids, cache: Cache | None = None
) -> tuple[Core, Bus]:
    """The bus and the store, which every role stands on, and the bus as what it is.

    Without a `cache` every read is one of the database.
    """
    cache = cache or NoCache()
    process_id = ids.new()
    # Each needs the other: a dead letter is a row, and rows are told on the bus.
    bus = make_bus(process_id, lambda letter: dead_letters.keep(letter))  # noqa: PLW0108  # bound later
    outbox = Outbox(database, bus, clock)
    dead_letters = DeadLetterStore(database, outbox, clock)
    edited = EditedCalls(ToolRules(PatternSearch()))
    patience = timedelta(seconds=settings.patience_seconds)
    store = Store(database, outbox, clock, patience=patience, judge_edit=edited.problems)
    catalogs = CatalogStore(database, outbox, clock, ids)
    core = Core(
        settings=settings,
        clock=clock,
        ids=ids,
        process_id=process_id,
        database=database,
        bus=bus,
        outbox=outbox,
        dead_letters=dead_letters,
        store=store,
        processes=ProcessStore(database, outbox, clock),
        cache=cache,
        queries=QueryStore(database, cache),
        states=StateManager(database, store, clock, cache),
        deliveries=DeliveryStore(database, clock),
        artifacts=ArtifactStore(database, clock),
        budgets=BudgetStore(database, clock, outbox),
        mcp_tools=McpToolStore(database, clock),
        memory=MemoryStore(database, clock),
        agent_health=AgentHealthStore(database, outbox, clock, ids),
        catalogs=catalogs,
        catalog=CatalogReader(catalogs, clock, bus.listen([ALL_CONFIG])),
        metrics=Metrics(),
    )
    return core, bus


async def take_over(core: Core) -> None:
    """The lock on the data folder proves that every earlier owner is gone: its runs and its events are ours now."""
    gone = [record.id for record in await core.processes.alive()]
    if gone:
        core.metrics.lease_lost(await core.processes.declare_dead(gone))
    await core.outbox.adopt()
    await core.processes.register(core.process_id, "embedded", platform.node(), os.getpid())
