"""The whole state layer over a real SQLite file with the HTTP API in front of it, and a test in the pools' place."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from sqlalchemy import insert

from callboard.agents.engines.edited_call import EditedCalls
from callboard.agents.engines.tool_rules import ToolRules
from callboard.clock import SystemClock
from callboard.config.agent_file import load_agent
from callboard.config.catalog_reader import CatalogReader
from callboard.config.definition import AgentDefinition
from callboard.health import HealthChecks
from callboard.ids import RandomIds, derive_id
from callboard.integrations.http_api.access import Allow, allow_all
from callboard.integrations.http_api.app import HttpApi
from callboard.integrations.http_api.progress_feed import FeedLimits
from callboard.integrations.http_api.services import ApiServices
from callboard.llm.pattern_search import PatternSearch
from callboard.messaging.delivery import Undeliverable
from callboard.messaging.events import Actor
from callboard.messaging.local import LocalEventBus
from callboard.messaging.topology import addressee
from callboard.metrics import Metrics
from callboard.scheduler.scheduler_service import SchedulerService
from callboard.state.artifact_store import ArtifactStore
from callboard.state.budget_store import BudgetStore
from callboard.state.catalog_store import CatalogStore
from callboard.state.catalogs import CatalogChanges, PutVersion, RejectionRecord
from callboard.state.clarifications import ClarificationKind, QuestionDraft
from callboard.state.dead_letter_store import DeadLetterStore
from callboard.state.delivery_store import DeliveryStore
from callboard.state.finishing import ProgressDraft, Settlement, StoredEvent
from callboard.state.mcp_tool_store import McpToolStore
from callboard.state.memory_store import MemoryStore
from callboard.state.models import metadata, progress
from callboard.state.occurrence_store import OccurrenceStore
from callboard.state.outbox import Outbox
from callboard.state.plan_store import PlanStore
from callboard.state.process_store import ProcessStore
from callboard.state.query_store import QueryStore
from callboard.state.registered_agents import AgentStatus, RegisteredAgent
from callboard.state.replay_store import ReplayStore
from callboard.state.routing import Routing
from callboard.state.runs import (
    ClaimedRun,
    ClaimRequest,
    RunError,
    RunStatus,
    Usage,
    WaitingKind,
)
from callboard.state.sql.sqlite import SqliteDatabase
from callboard.state.store import Store
from tests.support.plain_run import plain_run
from tests.support.waiting import wait_until

TESTER = Actor(kind="user", id="tess", via="test")
PROCESS = "a" * 32

ECHO = """\
name: {name}
description: Says it again
agent_type: helper
execution_mode: autonomous
llm_config: {{provider: scripted, model_id: echo}}
"""


@dataclass(eq=False)
class CatalogRegistry:
    """The registry's port over the catalog alone; what is paused or unavailable is kept in memory."""

    catalog: CatalogStore
    agents: dict[str, RegisteredAgent] = field(default_factory=dict)
    definitions: list[AgentDefinition] = field(default_factory=list)

    def names(self) -> Collection[str]:
        return self.agents.keys()

    def availability(self, agent: str) -> str | None:
        found = self.agents.get(agent)
        return None if found is None or found.status is AgentStatus.AVAILABLE else found.reason or found.status.value

    async def list(self) -> Sequence[RegisteredAgent]:
        return [self.agents[name] for name in sorted(self.agents)]

    async def pause(self, agent: str, actor: Actor) -> None:
        self.set(agent, AgentStatus.PAUSED, f"paused by {actor.id}")

    async def resume(self, agent: str, actor: Actor) -> None:
        self.set(agent, AgentStatus.AVAILABLE, None)

    def set(self, agent: str, status: AgentStatus, reason: str | None) -> None:
        known = self.agents[agent]
        fields = {name: getattr(known, name) for name in known.__slots__}
        self.agents[agent] = RegisteredAgent(**{**fields, "status": status, "reason": reason})

    async def load(self) -> None:
        """Follows the catalog, as a role does when it is told of a change."""
        head = await self.catalog.head()
        versions = await self.catalog.versions([(entry.name, entry.version) for entry in head.entries])
        records = {record.name: record for record in versions}
        self.definitions = [AgentDefinition.model_validate(dict(record.definition)) for record in versions]
        kept = dict(self.agents)
        self.agents.clear()
        for entry in head.entries:
            definition = AgentDefinition.model_validate(dict(records[entry.name].definition))
            before = kept.get(entry.name)
            self.agents[entry.name] = RegisteredAgent(
                name=entry.name,
                version=entry.version,
                latest=entry.latest,
                pinned=entry.pinned,
                status=before.status if before else AgentStatus.AVAILABLE,
                reason=before.reason if before else None,
                agent_type=definition.agent_type,
                execution_mode=definition.execution_mode.value,
                description=definition.description,
                capabilities=definition.capabilities,
                path=entry.path,
                warnings=records[entry.name].warnings,
            )


@dataclass(eq=False)
class ApiHouse:
    """One data file, its stores, and an API at `url`."""

    database: SqliteDatabase
    clock: SystemClock
    ids: RandomIds
    bus: LocalEventBus
    store: Store
    catalog: CatalogStore
    registry: CatalogRegistry
    services: ApiServices
    api: HttpApi
    url: str = ""
    token: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    def client(self, **headers: str) -> httpx2.AsyncClient:
        """A client of the served house, or of the application itself where it is not served."""
        transport = None if self.url else httpx2.ASGITransport(app=self.api)
        return httpx2.AsyncClient(
            base_url=self.url or "http://127.0.0.1",
            headers={**self.headers, **headers},
            timeout=10.0,
            trust_env=False,
            transport=transport,
        )

    async def invoke(self, client: httpx2.AsyncClient, text: Any = "hi", agent: str = "echo", **more: Any) -> str:
        """The id of a new task."""
        answer = await client.post("/api/v1/agents/invoke", json={"agent": agent, "input": text, **more})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["task_id"])

    async def put(self, *texts: str, removes: Sequence[str] = ()) -> None:
        """These agent files are in force from now on."""
        puts = []
        for text in texts:
            file = load_agent(text.encode(), "agents/x.yaml")
            assert file.definition is not None, file.problems
            puts.append(
                PutVersion(
                    name=file.definition.name,
                    path=f"agents/{file.definition.name}.yaml",
                    digest=file.digest,
                    source=text,
                    definition=file.definition.model_dump(mode="json", by_alias=True),
                )
            )
        head = await self.catalog.head()
        rejections = await self.catalog.rejections()
        changes = CatalogChanges(expected=head.number, puts=puts, removes=removes, rejections=rejections)
        await self.catalog.apply(changes, TESTER)
        await self.registry.load()

    async def reject(self, name: str, version: int, text: str) -> None:
        """The agent's file holds this text, which is refused."""
        file = load_agent(text.encode(), f"agents/{name}.yaml")
        assert file.problems
        problems = tuple(
            {"file": each.file, "line": each.line, "column": each.column, "message": each.message, "hint": each.hint}
            for each in file.problems
        )
        refused = RejectionRecord(
            path=f"agents/{name}.yaml",
            name=name,
            version=version,
            digest=hashlib.sha256(text.encode()).hexdigest(),
            problems=problems,
            created_at=self.clock.now(),
        )
        head = await self.catalog.head()
        await self.catalog.apply(CatalogChanges(expected=head.number, rejections=[refused]), TESTER)

    async def route(self) -> None:
        """Every accepted event becomes a run of the agent in its topic."""
        while (await self.store.route(_routing)).events:
            pass

    async def claim(self) -> ClaimedRun:
        """Routes, and takes the next run, as a pool would."""
        await self.route()
        claimed = await self.store.claim(
            ClaimRequest(
                mode="autonomous",
                process_id=PROCESS,
                token=self.ids.new(),
                slots=1,
                batch_slots=1,
                suspect=True,
                now=self.clock.now(),
            )
        )
        assert claimed, "there is no run to claim"
        return claimed[0]

    async def settle(self, claimed: ClaimedRun, status: RunStatus, **more: Any) -> RunStatus:
        return await self.store.settle(
            Settlement(
                run_id=claimed.run.run_id,
                fencing=claimed.run.fencing,
                status=status,
                now=self.clock.now(),
                **more,
            )
        )

    async def work(self, output: Any = "done") -> ClaimedRun:
        """The next run succeeds."""
        claimed = await self.claim()
        await self.settle(
            claimed,
            RunStatus.SUCCEEDED,
            output=output,
            usage=Usage(input_tokens=3, output_tokens=5),
            cost_usd=0.01,
            progress=(ProgressDraft(kind="thought", data={"text": "hm"}),),
        )
        return claimed

    async def fail(self) -> ClaimedRun:
        claimed = await self.claim()
        await self.settle(claimed, RunStatus.FAILED, error=RunError(code="boom", message="it broke"))
        return claimed

    async def ask(self, kind: ClarificationKind, question: str, *options: str) -> tuple[ClaimedRun, str]:
        """The next run asks; returns it with the question's id."""
        claimed = await self.claim()
        asked = QuestionDraft(
            id=derive_id("question", claimed.run.run_id, "1"), key="1", kind=kind, question=question, options=options
        )
        await self.settle(claimed, RunStatus.WAITING, waiting_kind=WaitingKind.CLARIFICATION, question=asked)
        return claimed, asked.id

    async def note(self, run_id: str, number: int, kind: str, **data: Any) -> None:
        """One line of progress, as a journal writes it."""
        row = {"run_id": run_id, "n": number, "kind": kind, "data": data, "created_at": self.clock.now()}
        await self.database.write(lambda connection: connection.execute(insert(progress), [row]).close())

    async def dead_letter(self, body: bytes, event_id: str | None = None) -> str:
        letter = Undeliverable(
            queue="responder",
            topic="run.succeeded.echo",
            body=body,
            reason="it raised",
            deliveries=5,
            event_id=event_id,
        )
        await self.services.dead_letters.keep(letter)
        return (await self.services.dead_letters.letters("default"))[0].id


def _routing(stored: StoredEvent) -> Routing:
    event = stored.event
    name = addressee(event.topic)
    if name is None:
        return Routing()
    run = plain_run(event, name, conversation_id=event.conversation_id)
    return Routing(runs=(run,), expected=True)


@contextlib.asynccontextmanager
async def api_house(
    folder: Path,
    *,
    token: str | None = None,
    allow: Allow = allow_all,
    feed_limits: FeedLimits | None = None,
    serve: bool = False,
) -> AsyncIterator[ApiHouse]:
    """A house with the agents `echo` and `sleeper`; with `serve` behind a real server on a free port."""
    database = SqliteDatabase(folder / "callboard.db")
    metadata.create_all(database.engine)
    await database.start()
    clock, ids = SystemClock(), RandomIds()

    async def sink(letter: Undeliverable) -> None:
        await dead_letters.keep(letter)

    bus = LocalEventBus(clock, sink)
    outbox = Outbox(database, bus, clock)
    dead_letters = DeadLetterStore(database, outbox, clock)
    store = Store(database, outbox, clock, judge_edit=EditedCalls(ToolRules(PatternSearch())).problems)
    catalog = CatalogStore(database, outbox, clock, ids)
    registry = CatalogRegistry(catalog)
    await bus.start()
    forgetting = asyncio.create_task(outbox.forget())
    await ProcessStore(database, outbox, clock).register(PROCESS, "pool", "here", 1)
    services = ApiServices(
        store=store,
        queries=QueryStore(database),
        catalog=catalog,
        versions=CatalogReader(catalog, clock),
        registry=registry,
        schedules=SchedulerService(lambda: registry.definitions, OccurrenceStore(database, outbox, clock), clock),
        dead_letters=dead_letters,
        deliveries=DeliveryStore(database, clock),
        artifacts=ArtifactStore(database, clock),
        plans=PlanStore(database, clock),
        replays=ReplayStore(database),
        budgets=BudgetStore(database, clock, outbox),
        mcp_tools=McpToolStore(database, clock),
        memory=MemoryStore(database, clock),
        health=HealthChecks(clock),
        metrics=Metrics(),
        clock=clock,
        ids=ids,
        listen=bus.listen,
        log_folder=folder / "logs",
        token=token,
        allow=allow,
        known_tools=("http_get", "http_post"),
    )
    services.health.register("database", database.ping)
    house = ApiHouse(
        database=database,
        clock=clock,
        ids=ids,
        bus=bus,
        store=store,
        catalog=catalog,
        registry=registry,
        services=services,
        api=HttpApi(services, feed_limits=feed_limits),
        token=token,
    )
    await house.put(ECHO.format(name="echo"), ECHO.format(name="sleeper"))
    try:
        if serve:
            async with _served(house):
                yield house
        else:
            yield house
    finally:
        forgetting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await forgetting
        await bus.close()
        await database.close()


@contextlib.asynccontextmanager
async def _served(house: ApiHouse) -> AsyncIterator[None]:
    config = uvicorn.Config(
        house.api, host="127.0.0.1", port=0, log_config=None, access_log=False, timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]  # the test keeps its own
    serving = asyncio.create_task(server.serve())
    await wait_until(lambda: server.started or serving.done(), "the server listens")
    house.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield
    finally:
        house.api.close_streams()
        server.should_exit = True
        await serving
