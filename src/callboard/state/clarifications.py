"""Questions that a run waits on, and their answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from callboard.errors import InvalidInputError
from callboard.messaging.events import Actor


class ClarificationKind(StrEnum):
    INPUT = "input"
    CHOICE = "choice"
    CONFIRMATION = "confirmation"
    ACTION = "action"


class ClarificationStatus(StrEnum):
    ASKED = "asked"
    ANSWERED = "answered"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionDraft:
    """A question as the engine asks it; `key` is its place in the run, so that asking again meets the same row."""

    id: str
    key: str
    kind: ClarificationKind
    question: str
    options: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clarification:
    id: str
    tenant: str
    run_id: str
    root_run_id: str
    key: str
    agent: str
    trace_id: str
    kind: ClarificationKind
    question: str
    options: tuple[str, ...]
    schema: dict[str, Any] | None
    status: ClarificationStatus
    answer: Any
    comment: str | None
    answered_by: str | None
    asked_at: datetime
    deadline: datetime | None
    answered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Somebody's answer: to the question that is named, or to the open one of a run (its own, or one of its steps').

    At least one of `run_id` and `clarification_id` is given.
    """

    answer: Any
    now: datetime
    actor: Actor
    run_id: str | None = None
    clarification_id: str | None = None
    comment: str | None = None
    answered_by: str | None = None


def check_answer(question: Clarification, answer: Any) -> None:
    """Raises InvalidInputError (HTTP 422) for an answer of the wrong form (DESIGN.md, API)."""
    match question.kind:
        case ClarificationKind.CONFIRMATION if not isinstance(answer, bool):
            raise _wrong(question, answer, "true or false")
        case ClarificationKind.CHOICE if answer not in question.options:
            raise _wrong(question, answer, "one of " + ", ".join(question.options))
        case ClarificationKind.INPUT if question.schema is None and not isinstance(answer, str):
            raise _wrong(question, answer, "a text")
        case ClarificationKind.ACTION if not (isinstance(answer, dict) and isinstance(answer.get("done"), bool)):
            raise _wrong(question, answer, '{"done": true} or {"done": false}')
        case _:
            return


def _wrong(question: Clarification, answer: Any, wanted: str) -> InvalidInputError:
    shown = repr(answer)[:80]
    return InvalidInputError(
        f"{shown} does not answer the {question.kind} question {question.id}: send {wanted}",
        code="invalid_answer",
        field="answer",
    )
