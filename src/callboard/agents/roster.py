"""The agents that a pool process has in hand: made when first needed, dropped when idle, rebuilt when they hang."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from callboard.agents.execution_agent import ExecutionAgent
from callboard.agents.pulse import Pulse
from callboard.clock import Clock
from callboard.config.catalog import CatalogEntry

IDLE_SECONDS = 600.0
"""An agent that had no work for this long gives back its memory (ten minutes, as the product promises)."""


@dataclass(eq=False, slots=True)
class AgentInstance:
    """One agent in one pool process: its versions in use, its pulse, the runs it has under way."""

    name: str
    pulse: Pulse
    versions: dict[tuple[int, str], ExecutionAgent] = field(default_factory=dict)
    runs: set[str] = field(default_factory=set)
    idle_since: float = 0.0


class Roster:
    """Instances by agent name."""

    def __init__(self, make: Callable[[CatalogEntry], ExecutionAgent], clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._instances: dict[str, AgentInstance] = {}

    def instance(self, name: str) -> AgentInstance:
        found = self._instances.get(name)
        if found is None:
            found = AgentInstance(name, Pulse(self._clock), idle_since=self._clock.monotonic())
            self._instances[name] = found
        return found

    def agent(self, entry: CatalogEntry) -> ExecutionAgent:
        """The execution agent of exactly this version and content; raises what making it raises."""
        versions, wanted = self.instance(entry.name).versions, (entry.version, entry.digest)
        if wanted not in versions:
            versions[wanted] = self._make(entry)
        return versions[wanted]

    def begin(self, name: str, run_id: str) -> AgentInstance:
        """Counts a run as under way; its beginning is a sign of life."""
        instance = self.instance(name)
        instance.runs.add(run_id)
        instance.pulse.beat(run_id)
        return instance

    def end(self, name: str, run_id: str) -> None:
        instance = self._instances.get(name)
        if instance is not None:
            instance.runs.discard(run_id)
            instance.pulse.beat(run_id)
            instance.idle_since = self._clock.monotonic()

    def active(self) -> list[AgentInstance]:
        """Those with work."""
        return [instance for instance in self._instances.values() if instance.runs]

    def names(self) -> set[str]:
        return set(self._instances)

    async def drop(self, name: str) -> None:
        """Forgets the instance: its next run makes a new one."""
        instance = self._instances.pop(name, None)
        if instance is not None:
            for agent in instance.versions.values():
                await agent.close()

    async def flush_idle(self) -> list[str]:
        """Drops what has been idle for ten minutes; returns the names."""
        now = self._clock.monotonic()
        idle = [
            name
            for name, instance in self._instances.items()
            if not instance.runs and now - instance.idle_since >= IDLE_SECONDS
        ]
        dropped = []
        for name in idle:
            instance = self._instances.get(name)
            if instance is not None and not instance.runs:  # it may have got work while another was being dropped
                await self.drop(name)
                dropped.append(name)
        return dropped

    async def close(self) -> None:
        for name in list(self._instances):
            await self.drop(name)
