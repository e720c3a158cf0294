"""What an agent is given with a claimed run: its journal, answers, ended tasks, what was read before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from callboard.agents.attempt import Attempt
from callboard.agents.engine import Answer, HandedResult
from callboard.agents.execution_agent import Assignment, input_text
from callboard.agents.handed_run import handed_key
from callboard.agents.journal import RunJournal
from callboard.agents.recording import Recording
from callboard.agents.recordings import Recordings
from callboard.agents.run_artifacts import RunArtifacts
from callboard.agents.run_budget import RunBudgets
from callboard.agents.settling import answer_key
from callboard.agents.text_stream import TextStreams
from callboard.agents.tools.run_agent import RUN_AGENT
from callboard.agents.tools.tool import Artifacts, NoArtifacts
from callboard.config.catalog import Catalog, CatalogEntry
from callboard.config.definition import ExecutionMode
from callboard.metrics import Metrics
from callboard.state.artifact_store import ArtifactStore
from callboard.state.clarifications import ClarificationStatus
from callboard.state.journal_store import JournalStore
from callboard.state.runs import Run, RunResult
from callboard.state.store import Store

LoadChildren = Callable[[str], Awaitable[Sequence[RunResult]]]


class Assigner:
    """Reads only what can be there: the first claim of a run that nobody caused costs no query at all."""

    def __init__(
        self,
        store: Store,
        journals: JournalStore,
        metrics: Metrics,
        *,
        budgets: RunBudgets | None = None,
        children: LoadChildren | None = None,
        artifacts: ArtifactStore | None = None,
        texts: TextStreams | None = None,
        recordings: Recordings | None = None,
    ) -> None:
        """Without `budgets` nothing holds model calls back, without `children` no task can be handed on, without
        `artifacts` no large result is kept, without `texts` no answer is told while it comes, without `recordings` a
        replay finds nothing recorded."""
        self._store = store
        self._journals = journals
        self._metrics = metrics
        self._budgets = budgets
        self._children = children
        self._artifacts = artifacts
        self._texts = texts
        self._recordings = recordings

    async def assignment(self, attempt: Attempt, entry: CatalogEntry, catalog: Catalog) -> Assignment:
        """What the agent of `entry` works on, with all that `catalog` lets it hand tasks to. UnavailableError."""
        run, given = attempt.run, attempt.claimed.input
        journal = self._journal(attempt)
        hands_on = self._children is not None and any(tool.name == RUN_AGENT for tool in entry.definition.tools)
        children = await self._children_of(run) if hands_on else ()
        return Assignment(
            run=run,
            input=input_text(given),
            given=given,
            journal=journal,
            answers=await self._answers(run),
            deadline=attempt.deadline,
            handed=_handed(run, children),
            ended_children=frozenset(child.run.run_id for child in children if child.run.status.terminal),
            agents=frozenset(catalog.agents) if hands_on else frozenset(),
            tainted=await self._tainted(run),
            artifacts=self._artifacts_of(run),
            on_text=None if self._texts is None else self._texts.of(run, journal),
            recording=Recording() if self._recordings is None else await self._recordings.of(run),
        )

    def _journal(self, attempt: Attempt) -> RunJournal:
        run = attempt.run
        return RunJournal(
            self._journals,
            run,
            attempt.pulse,
            None if self._budgets is None else self._budgets.of(run),
            spent=lambda usd: self._metrics.spent(agent=run.agent, usd=usd),
        )

    async def _answers(self, run: Run) -> dict[str, Answer]:
        if run.fencing == 1:
            return {}  # nobody can have asked yet
        answers = {}
        for question in await self._store.answers_of(run.run_id):
            key = answer_key(run, question.key)
            if key is not None and question.status is ClarificationStatus.ANSWERED:
                answers[key] = Answer(value=question.answer, comment=question.comment, answered_by=question.answered_by)
            elif key is not None and question.status is ClarificationStatus.EXPIRED:
                answers[key] = Answer(value=None, status="expired")
        return answers

    async def _children_of(self, run: Run) -> Sequence[RunResult]:
        if run.fencing == 1 or self._children is None or run.mode == ExecutionMode.COLLABORATIVE:
            return ()  # those of a plan are the plan's business
        return await self._children(run.run_id)

    async def _tainted(self, run: Run) -> bool:
        """A run that was caused by another one, or that has worked before, may know what strangers wrote."""
        if run.fencing == 1 and run.hops == 0 and run.parent_run_id is None:
            return False
        return await self._journals.is_tainted(run.tenant, run.trace_id, dry_root=run.root if run.dry else None)

    def _artifacts_of(self, run: Run) -> Artifacts:
        return NoArtifacts() if self._artifacts is None else RunArtifacts(self._artifacts, run)


def _handed(run: Run, children: Sequence[RunResult]) -> dict[str, HandedResult]:
    """What has become of the tasks of this context."""
    handed = {}
    for child in children:
        key = handed_key(run, child.run)
        if key is not None and child.run.status.terminal:
            handed[key] = HandedResult(
                status=child.run.status.value,
                output=child.output,
                error=None if child.error is None else child.error.message,
            )
    return handed
