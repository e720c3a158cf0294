"""What is to happen to an open question at some time: its deadline and its reminders; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from callboard.errors import InvalidInputError
from callboard.state.answer_forms import check_answer
from callboard.state.clarifications import MAX_REMINDERS, Clarification


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire:
    """Nobody answered: the run goes on and is told so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeDefault:
    """Nobody answered: the default is the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalate:
    """Ask once more in `channel`, until `deadline`."""

    channel: str
    deadline: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Remind:
    """Say it again; `number` counts from 1, `following` is when to do so next, None after the last time."""

    number: int
    following: datetime | None


Step = Expire | TakeDefault | Escalate | Remind


def due_step(question: Clarification, now: datetime) -> Step | None:
    """What an open question is due for, the deadline before a reminder; None for nothing.

    What an outage kept from being done is done once, not as often as it was missed.
    """
    if question.deadline is not None and question.deadline <= now and question.on_deadline != "wait":
        return _at_deadline(question, question.deadline, now)
    if question.next_reminder is not None and question.next_reminder <= now:
        return _reminder(question, question.next_reminder, now)
    return None


def _at_deadline(question: Clarification, deadline: datetime, now: datetime) -> Step:
    if question.on_deadline == "escalate" and question.escalated_at is None and question.escalate_to is not None:
        return Escalate(channel=question.escalate_to, deadline=now + (deadline - question.asked_at))
    if question.on_deadline == "default" and _fits(question):
        return TakeDefault()
    return Expire()


def _fits(question: Clarification) -> bool:
    """A default holds for all questions of an agent, some of which it may not answer."""
    try:
        check_answer(question, question.default_answer)
    except InvalidInputError:
        return False
    return True


def _reminder(question: Clarification, due: datetime, now: datetime) -> Remind:
    every = timedelta(seconds=question.remind_seconds or 0.0)
    if not every:
        return Remind(number=MAX_REMINDERS, following=None)
    number = max(1, round((due - question.asked_at) / every))
    passed = max(number, (now - question.asked_at) // every)
    following = question.asked_at + (passed + 1) * every if passed < MAX_REMINDERS else None
    return Remind(number=number, following=following)
