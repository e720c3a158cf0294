"""The store over a real database, with a clock that the test moves and words for what the rest of the program does."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Table, select

from callboard.clock import ManualClock
from callboard.ids import SequentialIds, derive_id
from callboard.messaging import topology
from callboard.messaging.events import Actor, Event, EventPriority, EventType
from callboard.messaging.reply import ReplyTo
from callboard.state.accepting import Accepted, EventDraft
from callboard.state.clarifications import Answer, Clarification, ClarificationKind, QuestionDraft
from callboard.state.database import Database
from callboard.state.effects import Claim
from callboard.state.finishing import ChildDraft, Consequences, Settlement, StoredEvent
from callboard.state.journal_store import JournalStore
from callboard.state.process_store import ProcessStore
from callboard.state.query_store import QueryStore
from callboard.state.routing import Routed, Routing
from callboard.state.runs import Admission, ClaimedRun, ClaimRequest, Lane, Run, RunDraft, RunResult, RunStatus
from callboard.state.state_manager import StateManager
from callboard.state.store import Store
from tests.support.plain_run import plain_run

TESS = Actor(kind="user", id="tess", via="test")
HERE = ReplyTo(channel="C1", thread_ts="1.5", mode="thread", team="T1")


@dataclass(eq=False)
class Announced:
    """What committed transactions had to tell; what it is told may get lost, as in a crash."""

    events: list[Event] = field(default_factory=list)
    wakes: list[str] = field(default_factory=list)

    def offer(self, consequences: Consequences) -> None:
        self.events += [stored.event for stored in consequences.events]
        self.wakes += sorted(consequences.wakes)

    def topics(self) -> list[str]:
        return [event.topic for event in self.events]


@dataclass(eq=False)
class StateHouse:
    """One database and the verbs on it. `p1` and `p2` are two processes that are alive from the start."""

    database: Database
    clock: ManualClock = field(default_factory=ManualClock)
    ids: SequentialIds = field(default_factory=SequentialIds)
    announced: Announced = field(default_factory=Announced)

    def __post_init__(self) -> None:
        self.store = Store(self.database, self.announced, self.clock)
        self.processes = ProcessStore(self.database, self.announced, self.clock)
        self.journals = JournalStore(self.database, self.clock)
        self.queries = QueryStore(self.database)
        self.states = StateManager(self.database, self.store, self.clock)

    async def open(self) -> StateHouse:
        for process in ("p1", "p2"):
            await self.processes.register(process, "pool", "here", 1)
        return self

    def event(self, agent: str = "echo", **payload: Any) -> Event:
        event_id = self.ids.new()
        return Event(
            event_id=event_id,
            event_type=EventType.API_INVOKE,
            topic=topology.api_invoke(agent),
            timestamp=self.clock.now(),
            trace_id=event_id,
            actor=TESS,
            payload={"input": "hello", **payload},
        )

    async def accept(self, event: Event, *keys: str, digest: str | None = None) -> Accepted:
        return await self.store.accept_event(EventDraft(event=event, dedupe_keys=keys, digest=digest))

    async def route(self) -> Routed:
        """The agent in the topic gets a run, admitted as the payload's `order`, `place`, `lane` … say."""
        return await self.store.route(decide)

    async def queue(self, agent: str = "echo", **payload: Any) -> str:
        """Accepted and routed: the run's id."""
        accepted = await self.accept(self.event(agent, **payload))
        await self.route()
        return derive_id("run", accepted.event_id, agent)

    async def claim(
        self,
        process: str = "p1",
        *,
        slots: int = 100,
        batch_slots: int | None = None,
        mode: str = "autonomous",
        suspect: bool = True,
        behind: timedelta = timedelta(0),
        closed: Collection[str] = (),
    ) -> list[ClaimedRun]:
        """`behind`: so far is the process's clock from the one by which the runs were queued."""
        return await self.store.claim(
            ClaimRequest(
                mode=mode,
                process_id=process,
                token=self.ids.new(),
                slots=slots,
                batch_slots=slots if batch_slots is None else batch_slots,
                suspect=suspect,
                now=self.clock.now() - behind,
                closed_agents=frozenset(closed),
            )
        )

    async def claimed_ids(self, process: str = "p1", **options: Any) -> list[str]:
        return [item.run.run_id for item in await self.claim(process, **options)]

    async def start(self, agent: str = "echo", process: str = "p1", **payload: Any) -> Run:
        """A run that is running in the process."""
        run_id = await self.queue(agent, **payload)
        mode = payload.get("mode", "autonomous")
        return next(item.run for item in await self.claim(process, mode=mode) if item.run.run_id == run_id)

    def settlement(self, run: Run, status: RunStatus = RunStatus.SUCCEEDED, **parts: Any) -> Settlement:
        base = Settlement(run_id=run.run_id, fencing=run.fencing, status=status, now=self.clock.now())
        return replace(base, **parts)

    async def settle(self, run: Run, status: RunStatus = RunStatus.SUCCEEDED, **parts: Any) -> RunStatus:
        return await self.store.settle(self.settlement(run, status, **parts))

    async def ask(self, run: Run, key: str = "q1", **parts: Any) -> RunStatus:
        """The run waits for an answer to its question."""
        return await self.settle(run, RunStatus.WAITING, question=question(run, key), **parts)

    async def answer(self, run_id: str | None = None, given: Any = "Berlin", **parts: Any) -> Clarification:
        return await self.store.answer(Answer(answer=given, now=self.clock.now(), actor=TESS, run_id=run_id, **parts))

    def child(self, parent: Run, step: str, agent: str = "helper", **admission: Any) -> ChildDraft:
        """A step's run, derived from its parent and the step."""
        event = replace(
            self.event(agent),
            event_id=derive_id("step", parent.run_id, step, 1),
            topic=topology.agent_input(agent),
            trace_id=parent.trace_id,
        )
        run = replace(
            draft_of(event, agent, admission),
            parent_run_id=parent.run_id,
            root_run_id=parent.root,
            step_id=step,
            depth=parent.depth + 1,
        )
        return ChildDraft(event=event, run=run)

    async def run(self, run_id: str) -> Run:
        found = await self.queries.run(run_id)
        assert found is not None, f"no run {run_id}"
        return found

    async def result(self, run_id: str) -> RunResult:
        found = await self.queries.result(run_id)
        assert found is not None, f"no run {run_id}"
        return found

    async def status(self, run_id: str) -> RunStatus:
        return (await self.run(run_id)).status

    async def rows(self, table: Table) -> Sequence[dict[str, Any]]:
        found = await self.database.read(lambda c: c.execute(select(table)).mappings().all())
        return [dict(row) for row in found]

    async def later(self, **span: float) -> None:
        await self.clock.advance(timedelta(**span).total_seconds())


def question(run: Run, key: str = "q1", **parts: Any) -> QuestionDraft:
    return QuestionDraft(
        **{
            "id": derive_id("clarification", run.run_id, key),
            "key": key,
            "kind": ClarificationKind.INPUT,
            "question": "Which city?",
            **parts,
        }
    )


def claim_of(run: Run) -> Claim:
    return Claim(run_id=run.run_id, fencing=run.fencing)


def decide(stored: StoredEvent) -> Routing:
    """Events for an agent give one run, all others none."""
    event = stored.event
    agents = event.payload.get("agents") or [topology.addressee(event.topic)]
    if agents == [None]:
        return Routing()
    return Routing(runs=tuple(draft_of(event, name, event.payload) for name in agents), expected=True)


def draft_of(event: Event, agent: str, wanted: dict[str, Any]) -> RunDraft:
    lane = Lane(wanted.get("lane", Lane.INTERACTIVE))
    return plain_run(
        event,
        agent,
        mode=wanted.get("mode", "autonomous"),
        admission=Admission(
            lane=lane,
            rank=wanted.get("rank", 3 if lane is Lane.BATCH else 2),
            order_key=wanted.get("order"),
            place_key=wanted.get("place"),
            places=wanted.get("places", 1) if wanted.get("place") else None,
        ),
        max_attempts=wanted.get("max_attempts", 3),
        timeout_seconds=wanted.get("timeout", 60.0),
        input=event.payload.get("input"),
        conversation_id=wanted.get("conversation"),
        reply_to=HERE if wanted.get("reply") else None,
        on_busy=wanted.get("on_busy", "queue"),
    )


__all__ = ["HERE", "TESS", "Announced", "EventPriority", "StateHouse", "claim_of", "decide", "draft_of", "question"]
