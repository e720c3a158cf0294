"""The one loop of all three pools: claim what is ready, work on it, let go of it in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from callboard.agents.assigning import Assigner
from callboard.agents.engine import Failed, Handed, Outcome, Usage
from callboard.agents.execution_agent import Assignment, ExecutionAgent
from callboard.agents.handed_run import handed_run
from callboard.agents.journal import RunJournal
from callboard.agents.pulse import Pulse
from callboard.agents.roster import Roster
from callboard.agents.run_budget import RunBudgets
from callboard.agents.settling import (
    UNKNOWN_USAGE,
    acceptable,
    cancelled,
    failure_of,
    handed_back,
    may_retry,
    not_storable,
    settlement_of,
    timed_out,
    turned_away,
)
from callboard.agents.variants import Variants
from callboard.clock import Clock
from callboard.config.catalog import Catalog, CatalogEntry
from callboard.config.definition import ExecutionMode
from callboard.errors import CallboardError, FencedError, NotFoundError, UnavailableError
from callboard.ids import Ids, fraction
from callboard.logs import StructuredLogger, bind_trace
from callboard.messaging.claim_loop import ClaimLoop
from callboard.messaging.event_bus import EventBus
from callboard.messaging.topology import run_requested
from callboard.metrics import Metrics
from callboard.retry import Backoff
from callboard.state.agent_health import Refusal
from callboard.state.finishing import Settlement
from callboard.state.journal_store import JournalStore
from callboard.state.runs import ClaimedRun, ClaimRequest, Lane, Run, RunStatus
from callboard.state.store import Store

LoadCatalog = Callable[[int], Awaitable[Catalog]]
STORE_PAUSE_SECONDS = 1.0
DEADLINE_LOOK_SECONDS = 0.25
MODES = tuple(mode.value for mode in ExecutionMode if mode is not ExecutionMode.SCHEDULED)


class Performer(Protocol):
    """What differs between the pools: how one claimed run of the mode is worked on."""

    mode: str

    async def perform(self, agent: ExecutionAgent, entry: CatalogEntry, assignment: Assignment) -> Performance:
        """Raises what the engine raises."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """An outcome, and what the mode adds to its settlement."""

    outcome: Outcome | None = None
    adds: Callable[[Settlement], Settlement] = field(default=lambda settlement: settlement)
    settlement: Settlement | None = None


@dataclass(eq=False, slots=True)
class _UnderWay:
    """A run in this process: its task, when its time is over, and why it was stopped, if it was."""

    run: Run
    task: asyncio.Task[None]
    deadline: float
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    slots: int = 200
    reserve: float = 0.2
    most_at_once: int = 16
    backoff: Backoff = Backoff(first_seconds=1.0, cap_seconds=60.0)  # noqa: RUF009  # frozen


class AgentPool:
    """Works the backlog of one mode (DESIGN.md, rule 4 and R5 to R16).

    Holds no run it has not claimed. A run leaves it by exactly one settlement, which the store refuses when the run
    has gone to another owner meanwhile.
    """

    def __init__(
        self,
        performer: Performer,
        *,
        store: Store,
        journals: JournalStore,
        catalog: LoadCatalog,
        roster: Roster,
        bus: EventBus,
        clock: Clock,
        ids: Ids,
        metrics: Metrics,
        process_id: str,
        may_start: Callable[[], bool],
        refusal: Callable[[str], Refusal | None],
        settings: PoolSettings,
        budgets: RunBudgets | None = None,
        assigner: Assigner | None = None,
        variants: Variants | None = None,
    ) -> None:
        """`may_start` says whether this process still has its lease, `refusal` why an agent cannot work here, if so.

        Without `variants` a replay is done by the agent as it was.
        """
        self.mode = performer.mode
        self.roster = roster
        self._performer = performer
        self._store = store
        self._journals = journals
        self._catalog = catalog
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._metrics = metrics
        self._process_id = process_id
        self._may_start = may_start
        self._refusal = refusal
        self._budgets = budgets
        self._variants = variants
        self._assigner = assigner or Assigner(store, journals)
        self._settings = settings
        self._reserve = int(settings.slots * settings.reserve)
        self._under_way: dict[str, _UnderWay] = {}
        self._turned_away: frozenset[str] = frozenset()
        self._log = StructuredLogger(f"{performer.mode}-agent-pool")
        self._loop: ClaimLoop[ClaimedRun] = ClaimLoop(
            f"{performer.mode}-agent-pool",
            slots=settings.slots,
            wake=bus.listen([run_requested(performer.mode, "*")]),
            claim=self._claim,
            work=self._work,
            clock=clock,
            reserve=self._reserve,
            most_at_once=settings.most_at_once,
        )

    @property
    def active(self) -> int:
        return self._loop.active

    async def run(self) -> None:
        """Claims and works until `stop`."""
        await self._loop.run()

    async def watch_deadlines(self) -> None:
        """Ends what takes too long; for ever."""
        while True:
            await self._clock.sleep(DEADLINE_LOOK_SECONDS)
            now = self._clock.monotonic()
            for entry in tuple(self._under_way.values()):
                if now >= entry.deadline:
                    self._interrupt(entry, "timed_out")

    async def flush_idle(self) -> None:
        """Gives back what idle agents hold; for ever."""
        while True:
            await self._clock.sleep(30.0)
            dropped = await self.roster.flush_idle()
            if dropped:
                self._log.info("idle agents flushed", agents=dropped)

    def cancel(self, run_ids: frozenset[str]) -> None:
        """Stops those of the runs that this pool has under way."""
        for run_id in run_ids:
            entry = self._under_way.get(run_id)
            if entry is not None:
                self._interrupt(entry, "cancelled")

    async def rebuild(self, agent: str) -> None:
        """Takes a hung agent's runs from it and makes it anew; each of the runs has failed once more."""
        for entry in tuple(self._under_way.values()):
            if entry.run.agent == agent:
                self._interrupt(entry, "unresponsive")
        await self.roster.drop(agent)

    def stop(self) -> None:
        """Claims nothing more."""
        self._loop.stop()

    async def drain(self, seconds: float | None) -> None:
        """Waits for the runs under way; those that take longer are handed back, and go on at the next start."""
        self.stop()
        drained = asyncio.ensure_future(self._loop.drained())
        timer = asyncio.ensure_future(self._clock.sleep(seconds if seconds is not None else 0.0))
        await asyncio.wait({drained, timer}, return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        for entry in tuple(self._under_way.values()):
            self._interrupt(entry, "drained")
        await drained
        await self.roster.close()

    def _interrupt(self, entry: _UnderWay, reason: str) -> None:
        if entry.reason is None:
            entry.reason = reason
            entry.task.cancel()

    async def _claim(self, free: int) -> list[ClaimedRun]:
        if not self._may_start():
            return []
        return await self._store.claim(
            ClaimRequest(
                mode=self.mode,
                process_id=self._process_id,
                token=self._ids.new(),
                slots=free,
                batch_slots=max(0, self._settings.slots - self._loop.active - self._reserve),
                suspect=not any(entry.run.suspect for entry in self._under_way.values()),
                now=self._clock.now(),
                closed_agents=self._closed_agents(),
            )
        )

    def _closed_agents(self) -> frozenset[str]:
        """Agents of which a run was turned away, for as long as that would happen again."""
        closed = {agent for agent in self._turned_away if (refused := self._refusal(agent)) and not refused.everywhere}
        self._turned_away = frozenset(closed)
        return self._turned_away

    async def _work(self, claimed: ClaimedRun) -> None:
        run = claimed.run
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # work runs in a task of the claim loop
        entry = _UnderWay(run, task, self._clock.monotonic() + run.timeout_seconds)
        self._under_way[run.run_id] = entry
        instance = self.roster.begin(run.agent, run.run_id)
        try:
            with bind_trace(run.trace_id, run_id=run.run_id, agent_id=run.agent):
                self._log.info("run started", attempt=run.attempt, fencing=run.fencing)
                settlement = await self._settlement(entry, claimed, self._journal(run, instance.pulse))
                await self._settle(run, settlement)
        finally:
            self.roster.end(run.agent, run.run_id)
            del self._under_way[run.run_id]
            if run.suspect:
                self._next_suspect()

    def _journal(self, run: Run, pulse: Pulse) -> RunJournal:
        return RunJournal(
            self._journals,
            run,
            pulse,
            None if self._budgets is None else self._budgets.of(run),
            spent=lambda usd: self._metrics.spent(agent=run.agent, usd=usd),
        )

    def _next_suspect(self) -> None:
        """One suspect at a time (DESIGN.md, R15), and after the second crash in a row all that was under way both times
        is suspect: without this each would wait for a poll."""
        for mode in MODES:
            self._bus.signal(run_requested(mode, Lane.INTERACTIVE.value))

    async def _settlement(self, entry: _UnderWay, claimed: ClaimedRun, journal: RunJournal) -> Settlement:
        """What the run comes to; whoever stopped it has left the reason."""
        try:
            performance = await self._perform(entry, claimed, journal)
        except asyncio.CancelledError:
            if entry.reason is None:
                raise
            entry.task.uncancel()
            return await self._interrupted(entry)
        except FencedError:
            raise
        except CallboardError as error:
            self._log.warning("run cannot go on", code=error.code, reason=error.message)
            performance = Performance(outcome=failure_of(error))
        except Exception as error:  # noqa: BLE001  # an agent that raises is a failed attempt, not a dead pool
            self._log.error("the agent raised", exc_info=True)
            performance = Performance(outcome=failure_of(error))
        # From here on nobody interrupts it: what the run came to is on its way to the store.
        entry.reason = entry.reason or "settling"
        if performance.settlement is not None:
            return performance.settlement
        return performance.adds(await self._after(claimed.run, acceptable(performance.outcome)))

    async def _perform(self, entry: _UnderWay, claimed: ClaimedRun, journal: RunJournal) -> Performance:
        run = claimed.run
        refused = self._refusal(run.agent)
        if refused is not None:
            return self._turn_away(run, refused)
        catalog = await self._catalog(run.catalog)
        catalog_entry = catalog.get(run.agent)
        if catalog_entry is None:
            raise NotFoundError(f"agent {run.agent} is not in catalog {run.catalog}", code="unknown_agent")
        if self._variants is not None:
            catalog_entry = await self._variants.entry(run, catalog_entry)
        assignment = await self._assigner.assignment(claimed, catalog_entry, catalog, journal, entry.deadline)
        performance = await self._performer.perform(self.roster.agent(catalog_entry), catalog_entry, assignment)
        if isinstance(performance.outcome, Handed):
            return self._handed(performance, performance.outcome, assignment, catalog)
        return performance

    def _turn_away(self, run: Run, refused: Refusal) -> Performance:
        """It has failed where nobody can work on it. Else it was accepted because somebody can: it goes back for that
        process, or for this one, which may be about to read the tool that the other has read already."""
        if refused.everywhere:
            failed = Failed(code="agent_unavailable", message=refused.reason, retryable=True, usage=Usage())
            return Performance(outcome=failed)
        self._log.warning("run left to a process that can work on it", reason=refused.reason)
        self._turned_away |= {run.agent}
        return Performance(settlement=turned_away(run, refused.reason, self._clock.now()))

    def _handed(
        self, performance: Performance, handed: Handed, assignment: Assignment, catalog: Catalog
    ) -> Performance:
        """The tasks become runs in the transaction in which this one begins to wait for them."""
        run, now = assignment.run, self._clock.now()
        children = tuple(handed_run(run, task, catalog, now) for task in handed.children)
        settlement = settlement_of(run, handed, now, children=children, absorbed=assignment.ended_children)
        return replace(performance, settlement=performance.adds(settlement))

    async def _interrupted(self, entry: _UnderWay) -> Settlement:
        now = self._clock.now()
        match entry.reason:
            case "timed_out":
                return timed_out(entry.run, now)
            case "cancelled":
                return cancelled(entry.run, now)
            case "unresponsive":
                said = "the agent gave no sign of life"
                failed = Failed(code="unresponsive", message=said, retryable=True, usage=UNKNOWN_USAGE)
                return await self._after(entry.run, failed)
            case _:
                return handed_back(entry.run, now)

    async def _after(self, run: Run, outcome: Outcome) -> Settlement:
        """A failure may be tried again, afresh only where nothing has happened in the world (DESIGN.md, rule 6)."""
        pause = 0.0
        fresh = False
        if isinstance(outcome, Failed) and may_retry(run, outcome):
            pause = self._settings.backoff.seconds(
                run.failures + 1, random=lambda: fraction(self._ids.new()), retry_after_seconds=outcome.retry_after
            )
            fresh = await self._may_start_afresh(run)
        return settlement_of(run, outcome, self._clock.now(), pause_seconds=pause, fresh_context=fresh)

    async def _may_start_afresh(self, run: Run) -> bool:
        try:
            return not await self._journals.has_lasting_effect(run.run_id, run.context_no)
        except UnavailableError:
            return False  # from the checkpoint is right in any case

    async def _settle(self, run: Run, settlement: Settlement) -> None:
        """Until the store takes it or another owner has the run; a store that is away is waited for."""
        given_up = False
        while True:
            try:
                status = await self._store.settle(settlement)
            except UnavailableError as error:
                self._log.warning("cannot store the end of a run yet", reason=error.message)
                await self._clock.sleep(STORE_PAUSE_SECONDS)
            except FencedError as error:
                self._log.warning("the run has gone to another owner", reason=error.message)
                return
            except Exception as error:
                if given_up:
                    raise
                # What the run came to cannot be stored: that is what is stored.
                self._log.error("the end of a run cannot be stored as it is", exc_info=True)
                given_up = True
                settlement = await self._after(run, not_storable(error))
            else:
                self._ended(run, settlement, status)
                return

    def _ended(self, run: Run, settlement: Settlement, status: RunStatus) -> None:
        now = self._clock.now()
        started = run.started_at or run.created_at
        milliseconds = round((now - started).total_seconds() * 1000, 1)
        error = None if settlement.error is None else settlement.error.code
        self._metrics.spent(agent=run.agent, usd=settlement.cost_usd)
        if status.terminal:
            seconds = (now - run.created_at).total_seconds()
            self._metrics.run_ended(agent=run.agent, mode=run.mode, status=status.value, seconds=seconds)
        if error is not None:
            self._metrics.run_error(agent=run.agent, code=error)
        self._log.info(
            f"run {status.value}",
            status=status.value,
            duration_ms=milliseconds,
            error=error,
            lane=Lane(run.lane).value,
        )
