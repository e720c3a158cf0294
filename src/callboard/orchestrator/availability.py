"""What a process that executes agents says of them: which cannot work here, and why (DESIGN.md, R30).

Only the pools have the keys of model providers. Every other role believes the record that this makes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from callboard.clock import Clock
from callboard.config.catalog import Catalog
from callboard.config.definition import AgentDefinition
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger
from callboard.messaging.wakeup import WakeUp
from callboard.state.agent_health import AgentStatusRecord, Availability
from callboard.state.agent_health_store import AgentHealthStore
from callboard.state.registered_agents import AgentStatus

EVERY_SECONDS = 30.0
"""How soon a record that another process made, whose environment is another, is put right."""


class AvailabilityReport:
    """Reports the agents of some modes, at once when the catalog or what they need changes; says again only what the
    record contradicts: who could execute the agent may have gone meanwhile."""

    def __init__(
        self,
        catalog: Callable[[], Catalog],
        why_unavailable: Callable[[AgentDefinition], str | None],
        health: AgentHealthStore,
        clock: Clock,
        modes: Collection[str],
        process_id: str,
    ) -> None:
        self._catalog = catalog
        self._why_unavailable = why_unavailable
        self._health = health
        self._clock = clock
        self._modes = frozenset(modes)
        self._process_id = process_id
        self._said: dict[str, str | None] = {}
        self._changed = WakeUp()
        self._log = StructuredLogger("agent-pool")

    def catalog_changed(self, catalog: Catalog) -> None:
        del catalog
        self._changed.set()

    def look_again(self) -> None:
        """Something that agents need has come or gone."""
        self._changed.set()

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as beside:
            beside.create_task(self._changed.poll(self._clock, EVERY_SECONDS))
            while True:
                await self._changed.wait()
                try:
                    await self.report()
                except UnavailableError as error:
                    self._log.warning("agents' availability was not reported", reason=error.message)

    async def report(self) -> None:
        """One report."""
        records = await self._health.statuses()
        found = []
        for entry in self._catalog():
            if entry.definition.mode.value in self._modes:
                reason = self._why_unavailable(entry.definition)
                said = entry.name in self._said and self._said[entry.name] == reason
                if not said or _contradicts(records.get(entry.name), reason):
                    found.append(Availability(agent=entry.name, reason=reason))
        if found:
            await self._health.report_availability(self._process_id, found)
            self._said |= {item.agent: item.reason for item in found}


def _contradicts(record: AgentStatusRecord | None, reason: str | None) -> bool:
    """An agent without a record is available; what people or the health watch have said is left alone."""
    status = AgentStatus.AVAILABLE if record is None else record.status
    if status is AgentStatus.UNAVAILABLE and record is not None:
        return record.reason != reason
    return status is AgentStatus.AVAILABLE and reason is not None
