"""Notices agents that have work and give no sign of life, and has them made anew (DESIGN.md, R30)."""

from __future__ import annotations

from callboard.clock import Clock
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.state.agent_health import AgentBeat
from callboard.state.agent_health_store import AgentHealthStore
from callboard.state.registered_agents import AgentStatus

LOOK_SECONDS = 5.0
SILENT_SECONDS = 45.0
"""With the time that a report and a look may take, an agent is found a minute after its last sign of life at most."""


class HealthWatch:
    """Compares each agent's progress only with itself, on this process's own monotonic clock.

    How often an agent was restarted is on record, so it survives this process.
    """

    def __init__(self, health: AgentHealthStore, clock: Clock, *, silent_seconds: float = SILENT_SECONDS) -> None:
        self._health = health
        self._clock = clock
        self._silent_seconds = silent_seconds
        self._seen: dict[tuple[str, str], tuple[tuple[int, int], float]] = {}
        self._log = StructuredLogger("agent-orchestrator")

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except UnavailableError as error:
                self._seen.clear()
                self._log.warning("cannot watch the agents' health", reason=error.message)
            await self._clock.sleep(min(LOOK_SECONDS, self._silent_seconds / 4))

    async def look(self) -> None:
        """One look at every agent with work."""
        beats = await self._health.beats()
        now = self._clock.monotonic()
        seen: dict[tuple[str, str], tuple[tuple[int, int], float]] = {}
        for beat in beats:
            key, mark = (beat.agent, beat.process_id), (beat.progress, beat.generation)
            known = self._seen.get(key)
            since = known[1] if known is not None and known[0] == mark and beat.active else now
            seen[key] = (mark, since)
            if now - since >= self._silent_seconds and beat.wanted_generation <= beat.generation:
                await self._restart_agent(beat)
                seen[key] = (mark, now)
        self._seen = seen

    async def _restart_agent(self, beat: AgentBeat) -> None:
        record = await self._health.want_restart(beat)
        if record is None:
            return  # another orchestrator has seen it too, and was first
        failed = record.status is AgentStatus.FAILED
        tell = self._log.error if failed else self._log.warning
        tell(
            "agent failed" if failed else "agent is restarted",
            agent_id=beat.agent,
            process_id=beat.process_id,
            restarts=record.restarts,
            reason=record.reason,
        )
