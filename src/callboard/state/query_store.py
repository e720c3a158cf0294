"""What people may know of runs and traces, as verbs; nothing here changes anything."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from callboard.state.cache import Cache, NoCache, cache_key
from callboard.state.database import Database
from callboard.state.finishing import StoredEvent
from callboard.state.kept_records import KeptRecords
from callboard.state.provider_states import ProviderState
from callboard.state.runs import Run, RunResult
from callboard.state.sql import queries, run_queries
from callboard.state.sql.provider_states import load_states
from callboard.state.sql.statistics import count_waiting
from callboard.state.story import AgentSums, Backlog, Operation, PendingRun, ProgressLine, RunFilter, Statistics, Story


class QueryStore:
    """Every method reads one consistent state of the database; a run that has ended may come from the cache.

    What is asked for by its id is found for its own tenant only. What belongs to a run (its lines, its steps) is asked
    for by whoever has found the run.
    """

    def __init__(self, database: Database, cache: Cache | None = None) -> None:
        self._database = database
        self._results = KeptRecords(RunResult, cache or NoCache())

    async def run(self, run_id: str, *, tenant: str = "default") -> Run | None:
        return await self._database.read(partial(run_queries.load_run, tenant=tenant, run_id=run_id))

    async def result(self, run_id: str, *, tenant: str = "default") -> RunResult | None:
        """The run with its input and what came of it so far."""
        read = partial(self._database.read, partial(run_queries.load_result, tenant=tenant, run_id=run_id))
        return await self._results.load(cache_key(tenant, "result", run_id), read, final=_may_be_kept)

    async def children(self, run_id: str, among: Collection[str] | None = None) -> Sequence[RunResult]:
        """The runs of a plan's steps, as they are now; only those of the ids that are given."""
        return await self._database.read(partial(run_queries.load_children, run_id=run_id, among=among))

    async def pending(self, run_id: str, *, tenant: str = "default") -> PendingRun | None:
        """The run that an accepted event will start (DESIGN.md, R4). Asked only when `run` found none."""
        return await self._database.read(partial(run_queries.load_pending, tenant=tenant, run_id=run_id))

    async def find(self, run_id: str, *, tenant: str = "default") -> Run | PendingRun | None:
        """The run, or what will become it."""
        found = await self.run(run_id, tenant=tenant) or await self.pending(run_id, tenant=tenant)
        # Routed between the two looks: then it is a run by now.
        return found or await self.run(run_id, tenant=tenant)

    async def runs(self, wanted: RunFilter) -> Sequence[Run]:
        """Newest first; the next page begins before the `seq` of the last."""
        return await self._database.read(partial(run_queries.list_runs, wanted=wanted))

    async def progress(self, run_id: str, after: int = 0, limit: int = 500) -> Sequence[ProgressLine]:
        """What the run did after its line `after`, in order."""
        return await self._database.read(partial(run_queries.load_progress, run_id=run_id, after=after, limit=limit))

    async def watched(
        self, run_id: str, after: int, limit: int, *, tenant: str = "default"
    ) -> tuple[Sequence[ProgressLine], bool]:
        """What the run did after its line `after`, in order, and whether it has ended and nothing follows them."""
        unit = partial(run_queries.load_watched, tenant=tenant, run_id=run_id, after=after, limit=limit)
        return await self._database.read(unit)

    async def event(self, event_id: str, *, tenant: str = "default") -> StoredEvent | None:
        return await self._database.read(partial(queries.load_event, tenant=tenant, event_id=event_id))

    async def known_events(self, event_ids: Sequence[str]) -> set[str]:
        """Those of the ids that are stored."""
        return await self._database.read(partial(queries.known_events, event_ids=event_ids))

    async def story(self, tenant: str, trace_id: str) -> Story:
        """Everything under a trace id; empty for one that is not known."""
        return await self._database.read(partial(queries.load_story, tenant=tenant, trace_id=trace_id))

    async def belongs_elsewhere(self, tenant: str, trace_id: str) -> bool:
        """Whether anything under the trace id is another tenant's."""
        return await self._database.read(partial(queries.belongs_elsewhere, tenant=tenant, trace_id=trace_id))

    async def operations(self, tenant: str, before: int | None = None, limit: int = 50) -> Sequence[Operation]:
        """Who did what, newest first."""
        return await self._database.read(partial(queries.list_operations, tenant=tenant, before=before, limit=limit))

    async def backlog(self) -> Sequence[Backlog]:
        """How many runs are active, by status, mode and lane."""
        return await self._database.read(run_queries.count_active)

    async def statistics(self) -> Statistics:
        """How much waits. Cheap however much has happened before: it may be asked every few seconds."""
        return await self._database.read(count_waiting)

    async def providers(self, tenant: str = "default") -> Sequence[ProviderState]:
        """What is known of the model providers: which are left alone, and until when."""
        return await self._database.read(partial(load_states, tenant=tenant))

    async def sums(self, tenant: str, agent: str | None = None) -> Sequence[AgentSums]:
        """What the runs of each agent came to, or of one."""
        return await self._database.read(partial(run_queries.sums_of_agents, tenant=tenant, agent=agent))

    async def untold(self) -> int:
        """How many events wait in the outbox."""
        return await self._database.read(queries.count_outbox)


def _may_be_kept(found: RunResult) -> bool:
    """What has ended never changes. A response URL works for whoever knows it, so it stays in the database."""
    run = found.run
    addressed = run.reply_to is not None and run.reply_to.response_url is not None
    return run.status.terminal and not addressed
