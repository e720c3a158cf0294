"""What an open question is due for, and when: one thing at a time, each once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.state.clarifications import MAX_REMINDERS, Clarification, ClarificationKind, ClarificationStatus
from callboard.state.question_deadlines import Escalate, Expire, Remind, TakeDefault, due_step

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
QUESTION = Clarification(
    id="c",
    tenant="default",
    run_id="r",
    root_run_id="r",
    key="k",
    agent="standup",
    trace_id="t",
    kind=ClarificationKind.CONFIRMATION,
    question="Really?",
    options=(),
    schema=None,
    status=ClarificationStatus.ASKED,
    answer=None,
    comment=None,
    answered_by=None,
    asked_at=NOW,
    deadline=NOW + HOUR,
    answered_at=None,
)


@pytest.mark.parametrize(
    ("rules", "step"),
    [
        ({}, Expire()),
        ({"on_deadline": "wait"}, None),
        ({"on_deadline": "default", "default_answer": True}, TakeDefault()),
        ({"on_deadline": "default", "default_answer": "yes"}, Expire()),
        ({"on_deadline": "default"}, Expire()),
        ({"on_deadline": "escalate", "escalate_to": "#ops"}, Escalate(channel="#ops", deadline=NOW + 2 * HOUR)),
        ({"on_deadline": "escalate", "escalate_to": "#ops", "escalated_at": NOW}, Expire()),
        ({"on_deadline": "escalate"}, Expire()),
        ({"deadline": None}, None),
    ],
)
def test_a_deadline_comes_to_what_was_asked_for(rules: dict[str, Any], step: object) -> None:
    asked = replace(QUESTION, **rules)
    assert due_step(asked, NOW + HOUR) == step
    assert due_step(asked, NOW + HOUR - timedelta(microseconds=1)) is None


def test_an_escalation_that_comes_late_still_gives_as_much_time_again() -> None:
    step = due_step(replace(QUESTION, on_deadline="escalate", escalate_to="#ops"), NOW + 5 * HOUR)
    assert step == Escalate(channel="#ops", deadline=NOW + 6 * HOUR)


def test_the_deadline_goes_before_a_reminder() -> None:
    assert due_step(replace(QUESTION, remind_seconds=60.0, next_reminder=NOW + HOUR), NOW + HOUR) == Expire()


@given(st.floats(60, 1e6), st.lists(st.floats(0.1, 30), min_size=1, max_size=40))
def test_reminders_are_numbered_upwards_and_at_most_ten(every: float, looks: list[float]) -> None:
    question = replace(QUESTION, deadline=None, remind_seconds=every, next_reminder=NOW + timedelta(seconds=every))
    now, numbers = NOW, []
    for look in looks:
        now += timedelta(seconds=look * every / 3)
        step = due_step(question, now)
        if step is None:
            continue
        assert isinstance(step, Remind)
        assert step.following is None or step.following > now
        numbers.append(step.number)
        question = replace(question, next_reminder=step.following)
    assert numbers == sorted(set(numbers))
    assert all(1 <= number <= MAX_REMINDERS for number in numbers)
