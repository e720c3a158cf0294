"""From what an engine says to what the store is told: pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import orjson

from callboard.agents.engine import (
    Asked,
    Failed,
    Handed,
    Outcome,
    Paused,
    Question,
    QuestionRules,
    Succeeded,
    WorkLimits,
)
from callboard.agents.engine import Usage as EngineUsage
from callboard.agents.engines.text_limits import shortened, size_bytes
from callboard.agents.journal import progress_of
from callboard.errors import CallboardError, UnavailableError, VersionConflictError
from callboard.ids import derive_id
from callboard.state.clarifications import ClarificationKind, QuestionDraft
from callboard.state.finishing import ChildDraft, Settlement
from callboard.state.runs import Run, RunError, RunStatus, Usage, WaitingKind

MAX_MESSAGE_BYTES = 4096
"""Of an error that people read; the whole of it is in the log."""
MAX_OUTPUT_BYTES = WorkLimits().max_output_bytes
UNKNOWN_USAGE = EngineUsage(cost_usd=None)
"""Of a run that was stopped, or broke, perhaps amid a model call: what was reserved for that counts as spent."""
_WAITING_KIND = {"approval": WaitingKind.APPROVAL, "plan": WaitingKind.APPROVAL, "budget": WaitingKind.BUDGET}


def settlement_of(
    run: Run,
    outcome: Outcome,
    now: datetime,
    *,
    pause_seconds: float = 0.0,
    fresh_context: bool = False,
    children: tuple[ChildDraft, ...] = (),
    absorbed: frozenset[str] = frozenset(),
) -> Settlement:
    """`pause_seconds` and `fresh_context` are used where the outcome is a failure that allows another attempt;
    `children` are the runs of a handed task, `absorbed` those of its children whose end the run knows already."""
    settlement = _settlement(run, outcome, now, pause_seconds, fresh_context=fresh_context)
    if isinstance(outcome, Succeeded):
        return settlement  # the hot path: it is whole, and a copy of so large a record takes its time
    return replace(settlement, progress=progress_of(outcome.notes), children=children, absorbed=absorbed)


def _settlement(run: Run, outcome: Outcome, now: datetime, pause_seconds: float, *, fresh_context: bool) -> Settlement:
    match outcome:
        case Succeeded():
            told = progress_of(outcome.notes)
            return _base(run, RunStatus.SUCCEEDED, now, outcome.usage, output=outcome.output, progress=told)
        case Asked():
            question = question_draft(run, outcome.question, now)
            kind = _WAITING_KIND.get(outcome.question.purpose, WaitingKind.CLARIFICATION)
            return _base(run, RunStatus.WAITING, now, outcome.usage, waiting_kind=kind, question=question)
        case Paused():
            until = now + timedelta(seconds=outcome.seconds)
            error = RunError(code=f"waiting_for_{outcome.kind}", message=shortened(outcome.message, MAX_MESSAGE_BYTES))
            return _base(
                run,
                RunStatus.WAITING,
                now,
                outcome.usage,
                waiting_kind=WaitingKind(outcome.kind),
                available_at=until,
                error=error,
            )
        case Handed():
            return _base(run, RunStatus.WAITING, now, outcome.usage, waiting_kind=WaitingKind.STEPS)
        case Failed():
            return _failed(run, outcome, now, pause_seconds, fresh_context=fresh_context)


def question_draft(run: Run, question: Question, now: datetime) -> QuestionDraft:
    rules = question.rules or QuestionRules()
    seconds = rules.deadline_seconds
    return QuestionDraft(
        id=derive_id("clarification", run.run_id, run.context_no, question.key),
        key=f"{run.context_no}:{question.key}",
        kind=ClarificationKind(question.kind),
        question=question.text,
        options=question.options,
        schema=None if question.schema is None else dict(question.schema),
        deadline=None if seconds is None else now + timedelta(seconds=seconds),
        purpose=question.purpose,
        details=dict(question.details),
        digest=question.digest,
        may_answer=rules.may_answer,
        not_requester=rules.not_requester,
        on_deadline=rules.on_deadline,
        default_answer=rules.default_answer,
        escalate_to=rules.escalate_to,
        remind_seconds=rules.remind_seconds,
    )


def acceptable(outcome: Outcome | None) -> Outcome:
    """The outcome, or the failure that an agent's misbehaviour comes to: nothing at all, or more than can be kept."""
    match outcome:
        case Succeeded() if outcome.output is None or outcome.output == "":
            return _nothing(outcome.usage)
        case Succeeded():
            size = _size(outcome.output)
            if size <= MAX_OUTPUT_BYTES:
                return outcome
            message = f"the agent returned {size} bytes; the limit is {MAX_OUTPUT_BYTES}: ask it for less"
            return Failed(code="output_too_large", message=message, retryable=False, usage=outcome.usage)
        case Asked() | Paused() | Handed() | Failed():
            return outcome
        case _:
            return _nothing(EngineUsage())


def _nothing(usage: EngineUsage) -> Failed:
    return Failed(code="empty_answer", message="the agent returned nothing", retryable=True, usage=usage)


def failure_of(error: Exception) -> Failed:
    """An attempt that ended with an exception: an outage may pass, a refusal will not, a defect is tried again."""
    if isinstance(error, CallboardError):
        again = isinstance(error, UnavailableError)
        return Failed(code=error.code, message=error.message, retryable=again, usage=UNKNOWN_USAGE)
    message = f"the agent raised {type(error).__name__}: {error}"
    return Failed(code="crash", message=message, retryable=True, usage=UNKNOWN_USAGE)


def not_storable(error: Exception) -> Failed:
    """What a run came to and the store refused to take."""
    if isinstance(error, CallboardError):
        # A person has changed what the agent remembers: the next attempt begins with that.
        again = isinstance(error, VersionConflictError)
        return Failed(code=error.code, message=error.message, retryable=again, usage=UNKNOWN_USAGE)
    message = f"what the agent returned cannot be stored ({type(error).__name__})"
    return Failed(code="not_storable", message=message, retryable=False, usage=UNKNOWN_USAGE)


def may_retry(run: Run, failed: Failed) -> bool:
    return failed.retryable and run.failures + 1 < run.max_attempts


def timed_out(run: Run, now: datetime) -> Settlement:
    error = RunError(code="timed_out", message=f"the run took longer than its {run.timeout_seconds:g} s")
    return _base(run, RunStatus.TIMED_OUT, now, UNKNOWN_USAGE, error=error)


def handed_back(run: Run, now: datetime) -> Settlement:
    """The process stops: the run goes on elsewhere, from its checkpoint, and has not failed."""
    return _base(run, RunStatus.QUEUED, now, UNKNOWN_USAGE)


def turned_away(run: Run, reason: str, now: datetime) -> Settlement:
    """This process cannot work on it, another may: nothing was done, and nothing has failed."""
    error = RunError(code="agent_unavailable", message=shortened(reason, MAX_MESSAGE_BYTES))
    return _base(run, RunStatus.QUEUED, now, EngineUsage(), error=error)


def cancelled(run: Run, now: datetime) -> Settlement:
    return _base(
        run,
        RunStatus.CANCELLED,
        now,
        UNKNOWN_USAGE,
        error=RunError(code="cancelled", message="cancelled on request"),
    )


def answer_key(run: Run, key: str) -> str | None:
    """The engine's key of a stored question, None for one of an earlier context."""
    context, _, plain = key.partition(":")
    return plain if context == str(run.context_no) else None


def _failed(run: Run, failed: Failed, now: datetime, pause_seconds: float, *, fresh_context: bool) -> Settlement:
    error = RunError(code=failed.code, message=shortened(failed.message, MAX_MESSAGE_BYTES))
    if not may_retry(run, failed):
        return _base(run, RunStatus.FAILED, now, failed.usage, error=error, failure=True)
    return _base(
        run,
        RunStatus.QUEUED,
        now,
        failed.usage,
        error=error,
        failure=True,
        fresh_context=fresh_context,
        available_at=now + timedelta(seconds=pause_seconds),
    )


def _base(run: Run, status: RunStatus, now: datetime, usage: EngineUsage, **parts: object) -> Settlement:
    return Settlement(
        run_id=run.run_id,
        fencing=run.fencing,
        status=status,
        now=now,
        usage=Usage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens),
        cost_usd=usage.cost_usd or 0.0,
        cost_known=usage.cost_usd is not None,
        **parts,  # type: ignore[arg-type]  # each caller in this file names fields of Settlement
    )


def _size(output: object) -> int:
    """In bytes, as JSON would have it; what has no JSON form is for the store to refuse."""
    if isinstance(output, str):
        return size_bytes(output)
    try:
        return len(orjson.dumps(output))
    except orjson.JSONEncodeError:
        return 0
