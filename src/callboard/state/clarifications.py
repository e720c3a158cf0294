"""Questions that a run waits on, and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from callboard.errors import ConflictError
from callboard.messaging.events import Actor
from callboard.state.deliveries import DeliveryDraft
from callboard.state.told_answer import told_answer

Purpose = Literal["question", "approval", "budget", "repeat", "plan"]
"""What an answer is to decide: whatever the agent wants to know, a tool call, more money, a repetition, a plan."""

OnDeadline = Literal["deny", "wait", "escalate", "default"]
"""What a question comes to that nobody answered in time.

`deny`: it expires and the run goes on, told so. `wait`: it stays open. `escalate`: it is asked once more in
`escalate_to` with as much time again, then expires. `default`: `default_answer` is taken, where it is a valid answer.
"""

MAX_REMINDERS = 10
DEFAULT = "default"
"""Who answered, where nobody did in time and the default was taken."""


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
    """A question as the engine asks it; `key` is its place in the run, so that asking again meets the same row.

    `details` is what the answer is about. Of an approval: `tool`, `arguments`, `digest` (of both), `why`, and `policy`
    and `written` where some arguments would be denied; its `schema` is the one of the tool's arguments, which edited
    ones must fit. `may_answer` names those who may (Slack users, Slack user groups S…, principals of the API), empty:
    everybody; with `not_requester` whoever asked for the run may not. `requester` is only given where that is not the
    actor of the run, or of the whole that it is a step of.
    """

    id: str
    key: str
    kind: ClarificationKind
    question: str
    options: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    deadline: datetime | None = None
    purpose: Purpose = "question"
    details: Mapping[str, Any] = field(default_factory=dict)
    digest: str | None = None
    may_answer: tuple[str, ...] = ()
    not_requester: bool = False
    requester: str | None = None
    on_deadline: OnDeadline = "deny"
    default_answer: Any = None
    escalate_to: str | None = None
    remind_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clarification:
    """A question as the database has it; the fields it shares with the draft mean the same."""

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
    purpose: Purpose = "question"
    details: Mapping[str, Any] = field(default_factory=dict)
    digest: str | None = None
    may_answer: tuple[str, ...] = ()
    not_requester: bool = False
    requester: str | None = None
    on_deadline: OnDeadline = "deny"
    default_answer: Any = None
    escalate_to: str | None = None
    escalated_at: datetime | None = None
    remind_seconds: float | None = None
    next_reminder: datetime | None = None

    @property
    def tool(self) -> str | None:
        """The tool that an approval is about."""
        name = self.details.get("tool")
        return name if isinstance(name, str) else None

    @property
    def arguments(self) -> dict[str, Any] | None:
        """What the tool is to be called with; None where the question is about no call."""
        given = self.details.get("arguments")
        return given if isinstance(given, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Somebody's answer: to the question that is named, or to the open one of a run (its own, or one of its steps').

    At least one of `run_id` and `clarification_id` is given. `actor` is who was authenticated, `answered_by` only a
    label. `groups` are those of the question's groups that the actor was found to be a member of. `edits` close the
    messages that the answer came from, which are planned with it.
    """

    answer: Any
    now: datetime
    actor: Actor
    run_id: str | None = None
    clarification_id: str | None = None
    comment: str | None = None
    answered_by: str | None = None
    groups: frozenset[str] = frozenset()
    edits: tuple[DeliveryDraft, ...] = ()


def check_open(question: Clarification) -> None:
    """Raises ConflictError (HTTP 409) for a question that is closed, saying who answered what."""
    if question.status is ClarificationStatus.ASKED:
        return
    if question.status is ClarificationStatus.ANSWERED:
        at = f"{question.answered_at:%Y-%m-%d %H:%M:%S UTC}" if question.answered_at else "before"
        told = told_answer(question.answer)
        raise ConflictError(
            f"{question.answered_by} answered {told!r} at {at}: the first answer counts",
            code="already_answered",
        )
    raise ConflictError(f"the question {question.id} is {question.status}: nobody waits for its answer", code="closed")
