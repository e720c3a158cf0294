"""Finds what a replay replays: the run behind it, or behind this step of it, and everything that is recorded of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from callboard.agents.engine import Answer, HandedResult
from callboard.agents.handed_run import handed_key
from callboard.agents.memory_scope import conversation_of_run
from callboard.agents.message_record import of_record
from callboard.agents.recording import (
    RecordedAnswer,
    RecordedTask,
    Recording,
    calls_made,
    topic,
)
from callboard.agents.settling import answer_key
from callboard.agents.stage import RECORDED, WOULD_DO
from callboard.errors import NotFoundError
from callboard.state.agent_state import AgentState
from callboard.state.clarifications import Clarification, ClarificationStatus
from callboard.state.replay_store import ReplayStore
from callboard.state.runs import Run, RunResult

LoadChildren = Callable[[str], Awaitable[Sequence[RunResult]]]
LoadQuestions = Callable[[str], Awaitable[Sequence[Clarification]]]


class LoadRun(Protocol):
    """A run of the tenant by its id, as it is now; None where there is none. UnavailableError."""

    async def __call__(self, run_id: str, *, tenant: str) -> Run | None: ...


class Recordings:
    """Reads the records of runs that have ended."""

    def __init__(self, store: ReplayStore, *, run: LoadRun, children: LoadChildren, questions: LoadQuestions) -> None:
        self._store = store
        self._run = run
        self._children = children
        self._questions = questions

    async def of(self, run: Run) -> Recording:
        """Empty for a run that replays nothing. NotFoundError (`origin_gone`) where the original was deleted since."""
        if run.variant is None:
            return Recording()
        origin = await self._origin(run)
        return Recording(replays=True) if origin is None else await self._recording(origin)

    async def past(self, run: Run, newest: int) -> AgentState | None:
        """The conversation as it was when the original began, with its newest messages; None without an original."""
        origin = None if run.variant is None else await self._origin(run)
        if origin is None:
            return None
        return await self._store.conversation_before(origin, conversation_of_run(origin), newest)

    async def _origin(self, run: Run) -> Run | None:
        """None for a step that the original did not take."""
        if run.origin_run_id is not None:
            origin = await self._run(run.origin_run_id, tenant=run.tenant)
            if origin is None:
                raise NotFoundError(
                    f"run {run.origin_run_id} was deleted meanwhile: there is nothing left to replay",
                    code="origin_gone",
                )
            return origin
        parent = None if run.parent_run_id is None else await self._run(run.parent_run_id, tenant=run.tenant)
        above = None if parent is None else await self._origin(parent)
        if above is None:
            return None
        same = [child.run for child in await self._children(above.run_id) if child.run.step_id == run.step_id]
        return next((child for child in reversed(same) if child.agent == run.agent), None)

    async def _recording(self, origin: Run) -> Recording:
        entries = [of_record(entry) for entry in await self._store.entries(origin.run_id, origin.context_no)]
        ledger = await self._store.effects(origin.run_id, origin.context_no)
        rehearsed = await self._store.keys(origin.run_id, (RECORDED, WOULD_DO)) if origin.dry else frozenset()
        calls = calls_made(
            entries,
            {effect.key: effect for effect in ledger},
            rehearsed,
            run_id=origin.run_id,
            step=origin.step_id or "",
        )
        questions = await self._questions(origin.run_id)
        return Recording(
            calls=calls,
            answers=tuple(_answer(asked) for asked in questions if _counts(origin, asked)),
            tasks=_tasks(origin, await self._children(origin.run_id)),
            replays=True,
        )


def _counts(origin: Run, asked: Clarification) -> bool:
    closed = asked.status in (ClarificationStatus.ANSWERED, ClarificationStatus.EXPIRED)
    return closed and asked.purpose != "budget" and answer_key(origin, asked.key) is not None


def _answer(asked: Clarification) -> RecordedAnswer:
    about = topic(asked.purpose, asked.question, asked.digest)
    if asked.status is ClarificationStatus.EXPIRED:
        return RecordedAnswer(topic=about, answer=Answer(value=None, status="expired"))
    said = Answer(value=asked.answer, comment=asked.comment, answered_by=asked.answered_by)
    return RecordedAnswer(topic=about, answer=said)


def _tasks(origin: Run, children: Sequence[RunResult]) -> tuple[RecordedTask, ...]:
    return tuple(
        RecordedTask(
            agent=child.run.agent,
            task=str(child.input),
            result=HandedResult(
                status=child.run.status.value,
                output=child.output,
                error=None if child.error is None else child.error.message,
            ),
        )
        for child in children
        if handed_key(origin, child.run) is not None and child.run.status.terminal
    )
