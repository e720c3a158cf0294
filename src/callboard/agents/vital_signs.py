"""Tells the database how the agents of a pool process are, and makes those anew that it wants made anew."""

from __future__ import annotations

from collections.abc import Sequence

from callboard.agents.pool import AgentPool
from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.messaging.events import Actor
from callboard.state.agent_health import AgentBeat
from callboard.state.agent_health_store import AgentHealthStore
from callboard.state.registered_agents import AgentStatus


class VitalSigns:
    """Reports every agent that has work, of all pools of this process."""

    def __init__(
        self,
        pools: Sequence[AgentPool],
        health: AgentHealthStore,
        clock: Clock,
        process_id: str,
        *,
        every_seconds: float = 5.0,
    ) -> None:
        self._pools = pools
        self._health = health
        self._clock = clock
        self._process_id = process_id
        self._every = every_seconds
        self._generations: dict[str, int] = {}
        self._reported: set[str] = set()
        self._log = StructuredLogger("agent-pool")

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._clock.sleep(self._every)
            try:
                await self.report()
            except UnavailableError as error:
                self._log.warning("signs of life did not arrive", reason=error.message)

    async def report(self) -> None:
        """One report; agents whose work has ended are told once more, as idle."""
        beats = {}
        for pool in self._pools:
            for instance in pool.roster.active():
                beats[instance.name] = self._beat(instance.name, len(instance.runs), instance.pulse.count)
        for name in self._reported - beats.keys():
            beats[name] = self._beat(name, 0, 0)
        self._reported = {name for name, beat in beats.items() if beat.active}
        if not beats:
            return
        for saved in await self._health.save_beats(list(beats.values())):
            if saved.wanted_generation > saved.generation:
                await self._rebuild(saved)

    def _beat(self, agent: str, active: int, progress: int) -> AgentBeat:
        return AgentBeat(
            agent=agent,
            process_id=self._process_id,
            active=active,
            progress=progress,
            generation=self._generations.get(agent, 0),
        )

    async def _rebuild(self, beat: AgentBeat) -> None:
        self._log.warning("agent is made anew", agent_id=beat.agent)
        for pool in self._pools:
            await pool.rebuild(beat.agent)
        self._generations[beat.agent] = beat.wanted_generation
        record = (await self._health.statuses()).get(beat.agent)
        if record is not None and record.status is AgentStatus.RESTARTING:
            await self._health.set_status(
                beat.agent,
                AgentStatus.AVAILABLE,
                Actor(kind="system", id="health"),
                restarts=record.restarts,
            )
