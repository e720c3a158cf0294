"""What the HTTP API works with: ports that the composition root fills."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from callboard.clock import Clock
from callboard.config.catalog_reader import CatalogReader
from callboard.config.models_file import ModelsFile
from callboard.config.tool_listing import ToolListing
from callboard.health import HealthChecks
from callboard.ids import Ids
from callboard.integrations.http_api.access import Allow, allow_all
from callboard.messaging.events import Actor
from callboard.messaging.wakeup import WakeUp
from callboard.metrics import Metrics
from callboard.state.artifact_store import ArtifactStore
from callboard.state.budget_store import BudgetStore
from callboard.state.catalog_store import CatalogStore
from callboard.state.dead_letter_store import DeadLetterStore
from callboard.state.delivery_store import DeliveryStore
from callboard.state.mcp_tool_store import McpToolStore
from callboard.state.memory_store import MemoryStore
from callboard.state.occurrences import OccurrenceRecord
from callboard.state.plan_store import PlanStore
from callboard.state.query_store import QueryStore
from callboard.state.registered_agents import RegisteredAgent
from callboard.state.replay_store import ReplayStore
from callboard.state.store import Store


class AgentRegistry(Protocol):
    """The catalog in force joined with the health of its agents. The first two are asked for every request."""

    def names(self) -> Collection[str]:
        """Every agent that exists now, from memory."""
        ...

    def availability(self, agent: str) -> str | None:
        """Why the agent takes no new work now, as a sentence for people; None when it does, or is not known."""
        ...

    async def list(self) -> Sequence[RegisteredAgent]:
        """Every agent, by name."""
        ...

    async def pause(self, agent: str, actor: Actor) -> None:
        """New work is refused from now on, on every process; NotFoundError."""
        ...

    async def resume(self, agent: str, actor: Actor) -> None:
        """Takes `pause` back, and `failed` too; NotFoundError."""
        ...


class HasRecord(Protocol):
    """Something that knows how JSON shows it."""

    def to_record(self) -> dict[str, object]: ...


class NamedSchedule(Protocol):
    """A schedule by its id."""

    @property
    def schedule_id(self) -> str: ...


class ComingTime(Protocol):
    """One time that a schedule names, in its zone and in UTC, with what is odd about it."""

    @property
    def local(self) -> datetime: ...

    @property
    def utc(self) -> datetime: ...

    @property
    def note(self) -> str | None: ...


class Schedules(Protocol):
    """What people ask of the schedules; `callboard.scheduler.SchedulerService` is it.

    `schedule` is an id, or its part after the agent's name; without one all schedules of the agent are meant. What is
    not in the catalog raises NotFoundError, a database that is away UnavailableError. Times are aware, in UTC.
    """

    async def listing(self, agent: str | None = None, *, count: int = 3) -> Sequence[HasRecord]:
        """Every schedule, or those of one agent, by id, each with its next `count` times."""
        ...

    def preview(
        self, agent: str, schedule: str | None = None, *, count: int = 10, start: datetime | None = None
    ) -> Sequence[tuple[NamedSchedule, Sequence[ComingTime]]]:
        """The next `count` times of each from `start`, else from now. InvalidInputError for a count out of bounds."""
        ...

    async def run_now(self, agent: str, schedule: str | None = None, *, actor: Actor) -> OccurrenceRecord:
        """Fires once, each call anew; its own times stay. InvalidInputError where several could be meant."""
        ...

    async def pause(self, agent: str, schedule: str | None = None) -> Sequence[str]:
        """What comes due is skipped from now on; the ids. A second call changes nothing."""
        ...

    async def resume(self, agent: str, schedule: str | None = None) -> Sequence[str]:
        """Takes `pause` back; what was skipped stays skipped. The ids."""
        ...

    async def history(
        self, agent: str | None = None, schedule: str | None = None, *, before: datetime | None = None, limit: int = 50
    ) -> Sequence[OccurrenceRecord]:
        """Newest first, at most `limit`, those with a nominal time earlier than `before`; none for an unknown name."""
        ...


async def no_models() -> ModelsFile:
    """Where there is no file of prices and budgets."""
    return ModelsFile()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """Everything that a route may use.

    `listen` is the bus's: it gives a wake-up that is set when something happened to a run. `token` None leaves the API
    open to this machine alone (DESIGN.md, R33). `versions` puts versions in force, `catalog` tells of them.
    `known_tools` None accepts any tool name in a validated file. `models` is what `config/models.yaml` says now.
    """

    store: Store
    queries: QueryStore
    catalog: CatalogStore
    versions: CatalogReader
    registry: AgentRegistry
    schedules: Schedules
    dead_letters: DeadLetterStore
    deliveries: DeliveryStore
    artifacts: ArtifactStore
    plans: PlanStore
    replays: ReplayStore
    budgets: BudgetStore
    mcp_tools: McpToolStore
    memory: MemoryStore
    health: HealthChecks
    metrics: Metrics
    clock: Clock
    ids: Ids
    listen: Callable[[Iterable[str]], WakeUp]
    log_folder: Path | None = None
    token: str | None = None
    allow: Allow = allow_all
    known_tools: Collection[str] | None = None
    tools: Callable[[], ToolListing] = ToolListing
    models: Callable[[], Awaitable[ModelsFile]] = no_models
