"""The one loop of all three pools: claim what is ready, have it worked on, stop what is to be stopped."""

from __future__ import annotations

import asyncio

from callboard.agents.attempt import Attempt, Interruption
from callboard.agents.attempts import Attempts
from callboard.agents.claims import Claims
from callboard.agents.performer import pool_name
from callboard.agents.roster import Roster
from callboard.clock import Clock
from callboard.config.definition import ExecutionMode
from callboard.logs import StructuredLogger
from callboard.messaging.claim_loop import ClaimLoop, Slots
from callboard.messaging.event_bus import EventBus
from callboard.messaging.topology import run_requested
from callboard.state.runs import ClaimedRun, Lane

DEADLINE_LOOK_SECONDS = 0.25
IDLE_LOOK_SECONDS = 30.0
MODES = tuple(mode.value for mode in ExecutionMode if mode is not ExecutionMode.SCHEDULED)
RESERVE = 0.2
"""The share of its slots that a pool keeps free of batch work."""
MOST_AT_ONCE = 16
"""So many runs one claim takes: what is left of a burst is for the other pools."""


def pool_slots(total: int) -> Slots:
    """Of a pool that works on so many runs at once (DESIGN.md, R5 and R6)."""
    return Slots(total=total, reserve=int(total * RESERVE), most_at_once=MOST_AT_ONCE)


class AgentPool:
    """Works the backlog of one mode (DESIGN.md, rule 4 and R5 to R16).

    Holds no run it has not claimed. A run leaves it by exactly one settlement, which the store refuses when the run
    has gone to another owner meanwhile.
    """

    def __init__(
        self,
        mode: str,
        *,
        claims: Claims,
        attempts: Attempts,
        roster: Roster,
        bus: EventBus,
        clock: Clock,
        slots: Slots,
    ) -> None:
        self.mode = mode
        self.roster = roster
        self._claims = claims
        self._attempts = attempts
        self._bus = bus
        self._clock = clock
        self._for_batch = slots.total - slots.reserve
        self._under_way: dict[str, Attempt] = {}
        self._log = StructuredLogger(pool_name(mode))
        self._loop: ClaimLoop[ClaimedRun] = ClaimLoop(
            pool_name(mode),
            slots=slots,
            wake=bus.listen([run_requested(mode, "*")]),
            claim=self._claim,
            work=self._work,
            clock=clock,
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
            for attempt in tuple(self._under_way.values()):
                if now >= attempt.deadline:
                    attempt.interrupt(Interruption.TIMED_OUT)

    async def flush_idle(self) -> None:
        """Gives back what idle agents hold; for ever."""
        while True:
            await self._clock.sleep(IDLE_LOOK_SECONDS)
            dropped = await self.roster.flush_idle()
            if dropped:
                self._log.info("idle agents flushed", agents=dropped)

    def cancel(self, run_ids: frozenset[str]) -> None:
        """Stops those of the runs that this pool has under way."""
        for run_id in run_ids:
            attempt = self._under_way.get(run_id)
            if attempt is not None:
                attempt.interrupt(Interruption.CANCELLED)

    async def rebuild(self, agent: str) -> None:
        """Takes a hung agent's runs from it and makes it anew; each of the runs has failed once more."""
        for attempt in tuple(self._under_way.values()):
            if attempt.run.agent == agent:
                attempt.interrupt(Interruption.UNRESPONSIVE)
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
        for attempt in tuple(self._under_way.values()):
            attempt.interrupt(Interruption.DRAINED)
        await drained
        await self.roster.close()

    async def _claim(self, free: int) -> list[ClaimedRun]:
        return await self._claims.take(
            free,
            batch=max(0, self._for_batch - self._loop.active),
            suspect=not any(attempt.run.suspect for attempt in self._under_way.values()),
        )

    async def _work(self, claimed: ClaimedRun) -> None:
        run = claimed.run
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # work runs in a task of the claim loop
        deadline = self._clock.monotonic() + run.timeout_seconds
        pulse = self.roster.begin(run.agent, run.run_id).pulse
        attempt = self._under_way[run.run_id] = Attempt(claimed, task, pulse, deadline)
        try:
            await self._attempts.carry_out(attempt)
        finally:
            self.roster.end(run.agent, run.run_id)
            del self._under_way[run.run_id]
            if run.suspect:
                self._next_suspect()

    def _next_suspect(self) -> None:
        """One suspect at a time (DESIGN.md, R15), and after the second crash in a row all that was under way both times
        is suspect: without this each would wait for a poll."""
        for mode in MODES:
            self._bus.signal(run_requested(mode, Lane.INTERACTIVE.value))
