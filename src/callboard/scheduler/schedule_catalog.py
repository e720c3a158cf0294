"""The schedules of the current definitions, computed again only for agents that changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from callboard.config.definition import AgentDefinition
from callboard.errors import InvalidInputError, NotFoundError
from callboard.logs import StructuredLogger
from callboard.scheduler.schedule import Schedule, schedules_of

Definitions = Callable[[], Sequence[AgentDefinition]]
"""The port to the catalog: every active definition, complete at every call, the same objects while nothing changed.

It must not be called before the catalog is loaded: a schedule that is not in it counts as removed.
"""


class ScheduleCatalog:
    """What `definitions` give, as schedules; one whose times cannot be computed is left out and told once."""

    def __init__(self, definitions: Definitions, logger: StructuredLogger) -> None:
        self._definitions = definitions
        self._logger = logger
        self._seen: tuple[AgentDefinition, ...] = ()
        self._of_agent: dict[str, tuple[AgentDefinition, tuple[Schedule, ...]]] = {}
        self._current: dict[str, Schedule] = {}

    def current(self) -> dict[str, Schedule]:
        """By schedule id, in the catalog's order; the same object while nothing changed."""
        definitions = tuple(self._definitions())
        if len(definitions) != len(self._seen) or any(
            new is not old for new, old in zip(definitions, self._seen, strict=True)
        ):
            self._seen = definitions
            self._of_agent = {definition.name: (definition, self._schedules(definition)) for definition in definitions}
            self._current = {
                schedule.schedule_id: schedule for _, found in self._of_agent.values() for schedule in found
            }
        return self._current

    def find(self, agent: str, name: str | None) -> list[Schedule]:
        """One schedule by its id or the part of it after the agent, or all of the agent; NotFoundError if none."""
        of_agent = [schedule for schedule in self.current().values() if schedule.agent == agent]
        chosen = [found for found in of_agent if name in (None, found.schedule_id, local_name(found))]
        if chosen:
            return chosen
        if agent not in self._of_agent:
            has = f"the agents are {', '.join(sorted(self._of_agent)) or 'none yet'}"
            raise NotFoundError(f"no agent {agent!r}; {has}", field="agent")
        has = ", ".join(local_name(schedule) for schedule in of_agent)
        raise NotFoundError(
            f"agent {agent!r} has no schedule {name!r}; it has {has}"
            if has
            else f"agent {agent!r} has no schedules; add `schedules` to its file",
            field="schedule_id",
        )

    def _schedules(self, definition: AgentDefinition) -> tuple[Schedule, ...]:
        known = self._of_agent.get(definition.name)
        if known is not None and known[0] is definition:
            return known[1]
        try:
            return schedules_of(definition)
        except InvalidInputError as error:
            self._logger.warning("the agent's schedules are left out", agent_id=definition.name, reason=error.message)
            return ()


def local_name(schedule: Schedule) -> str:
    """The id without the agent, which is what a user writes."""
    return schedule.schedule_id.removeprefix(f"{schedule.agent}.")
