"""Drives the store as a whole system would: routers, workers, people, sweepers and zombies, in a random order.

What it does at random it also writes down, so that `run_invariants` can join the database with it.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from callboard.errors import CallboardError, ConflictError, FencedError
from callboard.ids import derive_id
from callboard.messaging.events import Event
from callboard.state.agent_state import StateSave
from callboard.state.clarifications import Answer
from callboard.state.effects import EffectDraft, EffectStatus
from callboard.state.finishing import Settlement
from callboard.state.journal_store import Checkpoint
from callboard.state.runs import Run, RunError, RunStatus, WaitingKind
from tests.support.state_house import TESS, StateHouse, claim_of, question

BROKE = RunError(code="broke", message="it broke")
MODES = ("autonomous", "continuous", "collaborative")
STEPS = ("one", "two")


@dataclass(eq=False)
class Worker:
    """A process as it sees itself: a zombie does not know that it is one."""

    name: str
    dead: bool = False
    held: dict[str, Run] = field(default_factory=dict)


@dataclass(eq=False)
class Ledger:
    """What the outside world has seen."""

    accepted: dict[str, Event] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    claimed_after_cancel: list[str] = field(default_factory=list)
    succeeded: Counter[str] = field(default_factory=Counter)
    effects: Counter[tuple[str, str]] = field(default_factory=Counter)
    zombie_writes: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)


class Driver:
    def __init__(self, house: StateHouse, seed: int) -> None:
        self.house = house
        self.ledger = Ledger()
        self.workers = [Worker("p1"), Worker("p2")]
        self._random = random.Random(seed)  # noqa: S311  # a seed that can be given again is the point
        self._actions: dict[Callable[[], Awaitable[None]], int] = {
            self.accept: 8,
            self.accept_again: 2,
            self.route: 6,
            self.claim: 9,
            self.finish: 9,
            self.fail: 3,
            self.ask: 3,
            self.answer: 3,
            self.effect: 5,
            self.cancel: 1,
            self.lose_a_worker: 1,
            self.stop_a_worker: 1,
            self.zombie: 4,
            self.wait_a_little: 2,
        }

    async def tick(self) -> None:
        """Several things at once."""
        chosen = self._random.choices(
            list(self._actions), weights=list(self._actions.values()), k=self._random.randint(1, 6)
        )
        await asyncio.gather(*(action() for action in chosen))

    async def accept(self) -> None:
        kind = self._random.choice(("plain", "placed", "talk", "talk", "plan"))
        key = self._random.choice("abc")
        kinds: dict[str, dict[str, Any]] = {
            "plain": {"mode": "autonomous", "agents": ["echo", "second"]},
            "placed": {"mode": "autonomous", "place": "agent:placed", "places": 2, "agents": ["placed"]},
            "talk": {"mode": "continuous", "order": f"talk/{key}", "conversation": key, "agents": ["talk"]},
            "plan": {"mode": "collaborative", "agents": ["plan"]},
        }
        wanted = kinds[kind]
        if self._random.random() < 0.2:
            wanted = {**wanted, "lane": "batch"}
        event = self.house.event(**wanted, reply=True)
        accepted = await self.house.accept(event, f"key:{event.event_id}")
        assert not accepted.duplicate
        self.ledger.accepted[event.event_id] = event

    async def accept_again(self) -> None:
        if self.ledger.accepted:
            event = self._random.choice(list(self.ledger.accepted.values()))
            accepted = await self.house.accept(
                replace(event, event_id=self.house.ids.new()), f"key:{event.event_id}", "another"
            )
            assert accepted.duplicate
            assert accepted.event_id in self.ledger.accepted

    async def route(self) -> None:
        await self.house.route()

    async def claim(self) -> None:
        worker = self._worker()
        gone = set(self.ledger.cancelled)
        for mode in MODES:
            try:
                claimed = await self.house.claim(worker.name, slots=self._random.randint(1, 5), mode=mode)
            except FencedError:
                return
            for item in claimed:
                worker.held[item.run.run_id] = item.run
                self.ledger.done["claim"] += 1
                if item.run.run_id in gone:
                    self.ledger.claimed_after_cancel.append(item.run.run_id)

    async def finish(self) -> None:
        _, run = self._take()
        if run is not None:
            await self._settle(run, await self._end_of(run))

    async def fail(self) -> None:
        _, run = self._take()
        if run is None:
            return
        again = run.failures + 1 < run.max_attempts
        fresh = again and not await self.house.journals.has_lasting_effect(run.run_id, run.context_no)
        pause = timedelta(seconds=self._random.randint(0, 5))
        await self._settle(
            run,
            self.house.settlement(
                run,
                RunStatus.QUEUED if again else RunStatus.FAILED,
                failure=True,
                fresh_context=fresh,
                error=BROKE,
                available_at=self.house.clock.now() + pause,
            ),
        )

    async def ask(self) -> None:
        _, run = self._take()
        if run is not None:
            key = f"{run.context_no}:{self._random.randint(1, 2)}"
            asked = self.house.settlement(
                run, RunStatus.WAITING, waiting_kind=WaitingKind.CLARIFICATION, question=question(run, key)
            )
            await self._settle(run, asked)

    async def answer(self) -> None:
        for asked in await self.house.store.clarifications("default", "asked", limit=3):
            given = Answer(answer="yes", now=self.house.clock.now(), actor=TESS, clarification_id=asked.id)
            try:
                await self.house.store.answer(given)
            except ConflictError:
                self.ledger.done["late answer"] += 1

    async def effect(self) -> None:
        """A tool call: the world changes only where the ledger says that nobody has begun."""
        worker, run = self._take(zombies=True)
        if run is not None:
            await self._call(run)
            worker.held[run.run_id] = run

    async def _call(self, run: Run) -> None:
        draft = EffectDraft(key=f"/0/{self._random.randint(0, 1)}", tool="send", digest="d", idempotent=False)
        try:
            known = await self.house.journals.begin_effect(claim_of(run), draft, repeat=False)
            if known is not None:
                return
            failed = self._random.random() < 0.2
            if not failed:
                self.ledger.effects[run.run_id, draft.key] += 1
            if self._random.random() < 0.3:
                return  # the process dies before it can say how the call ended
            status = EffectStatus.FAILED if failed else EffectStatus.DONE
            await self.house.journals.end_effect(claim_of(run), draft, status, "r", Checkpoint(messages=("m",)))
        except FencedError:
            self.ledger.done["fenced effect"] += 1

    async def cancel(self) -> None:
        if not self.ledger.accepted:
            return
        event = self._random.choice(list(self.ledger.accepted.values()))
        run_id = derive_id("run", event.event_id, event.payload["agents"][0])
        try:
            await self.house.store.request_cancel(run_id, TESS)
        except CallboardError:
            return  # not routed yet, or ended before
        self.ledger.cancelled.add(run_id)

    async def lose_a_worker(self) -> None:
        """It is declared dead and goes on as a zombie; another takes its place."""
        worker = self._worker()
        await self._replace(worker)
        await self.house.processes.declare_dead([worker.name])
        worker.dead = True
        self.ledger.done["lost"] += 1

    async def stop_a_worker(self) -> None:
        worker = self._worker()
        await self._replace(worker)
        await self.house.processes.hand_back(worker.name)
        worker.dead = True

    async def zombie(self) -> None:
        """What a dead process still writes is refused, whatever it is."""
        zombies = [worker for worker in self.workers if worker.dead and worker.held]
        if not zombies:
            return
        worker = self._random.choice(zombies)
        run = worker.held.pop(self._random.choice(list(worker.held)))
        wrong = self.house.settlement(run, RunStatus.SUCCEEDED, output="from a zombie", messages=("zombie",))
        for write in (
            self.house.journals.append(claim_of(run), Checkpoint(messages=("zombie",))),
            self.house.settle(run, RunStatus.QUEUED, failure=True),
            self.house.store.settle(wrong),
        ):
            try:
                await write
            except FencedError:
                self.ledger.done["fenced"] += 1
            else:
                stored = await self.house.result(run.run_id)
                if not (stored.run.status is RunStatus.SUCCEEDED and stored.output != "from a zombie"):
                    self.ledger.zombie_writes.append(run.run_id)

    async def wait_a_little(self) -> None:
        await self.house.later(seconds=self._random.randint(1, 3))

    async def settle_down(self) -> None:
        """No more faults: everything that was accepted comes to its end."""
        worker = Worker("last")
        await self.house.processes.register("last", "pool", "here", 9)
        await self.house.processes.declare_dead([known.name for known in self.workers if not known.dead])
        self.workers = [worker]
        for _ in range(500):
            await self.house.later(seconds=10)
            await self.house.route()
            await self.answer()
            await self.claim()
            while worker.held:
                run = worker.held.pop(next(iter(worker.held)))
                await self._settle(run, await self._end_of(run))
            if not await self.house.queries.backlog():
                await self.house.route()  # what the last ones had to tell
                return
        raise AssertionError("the backlog does not drain")

    async def _end_of(self, run: Run) -> Settlement:
        """A success, and what the run's mode adds to it."""
        done = self.house.settlement(run, RunStatus.SUCCEEDED, output=run.run_id)
        if run.mode == "continuous":
            state = await self.house.states.load_state("talk", run.conversation_id or "")
            save = StateSave(
                agent="talk",
                conversation_id=run.conversation_id or "",
                expected=state.version,
                memory={"last": run.run_id},
                appended=(run.run_id,),
                turns=state.turns + 1,
                run_id=run.run_id,
                fencing=run.fencing,
            )
            return replace(done, state=save)
        if run.mode == "collaborative":
            children = await self.house.queries.children(run.run_id)
            ended = frozenset(child.run.run_id for child in children if child.run.status.terminal)
            if len(ended) < len(STEPS):
                return self.house.settlement(
                    run,
                    RunStatus.WAITING,
                    waiting_kind=WaitingKind.STEPS,
                    children=tuple(self.house.child(run, step, place="agent:helper", places=2) for step in STEPS),
                    absorbed=ended,
                )
        return done

    async def _settle(self, run: Run, settlement: Settlement) -> None:
        try:
            status = await self.house.store.settle(settlement)
        except FencedError:
            self.ledger.done["fenced"] += 1
            return
        self.ledger.done[status.value] += 1
        if status is RunStatus.SUCCEEDED:
            self.ledger.succeeded[run.run_id] += 1

    async def _replace(self, worker: Worker) -> None:
        other = Worker(f"w{len(self.workers)}-{self.house.ids.new()[-6:]}")
        await self.house.processes.register(other.name, "pool", "here", 1)
        self.workers = [known for known in self.workers if known is not worker or worker.held] + [other]

    def _worker(self) -> Worker:
        return self._random.choice([worker for worker in self.workers if not worker.dead])

    def _take(self, *, zombies: bool = False) -> tuple[Worker, Run | None]:
        """A run that its worker believes to have; only one thing is done with it at a time."""
        busy = [worker for worker in self.workers if worker.held and (zombies or not worker.dead)]
        if not busy:
            return self.workers[0], None
        worker = self._random.choice(busy)
        return worker, worker.held.pop(self._random.choice(list(worker.held)))
