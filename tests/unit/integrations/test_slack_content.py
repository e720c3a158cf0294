"""What a delivery says, by its kind and by what became of the run or question meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from callboard.errors import NotFoundError
from callboard.integrations.slack_blocks import FailureContent, NoticeContent, ResultContent
from callboard.integrations.slack_content import DeliveryContent, as_text
from callboard.integrations.slack_question_blocks import AnsweredContent, QuestionContent
from callboard.messaging.events import Actor
from callboard.messaging.reply import ReplyTo
from callboard.state.clarifications import Clarification, ClarificationKind, ClarificationStatus
from callboard.state.deliveries import Delivery, DeliveryStatus
from callboard.state.runs import Lane, Run, RunError, RunResult, RunStatus, Usage

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
RUN = Run(
    seq=1,
    run_id="r",
    tenant="default",
    event_id="e",
    trace_id=TRACE,
    agent="standup",
    agent_version=1,
    catalog=1,
    mode="autonomous",
    lane=Lane.INTERACTIVE,
    status=RunStatus.SUCCEEDED,
    attempt=1,
    failures=0,
    max_attempts=3,
    context_no=0,
    lease_losses=0,
    fencing=1,
    conversation_id=None,
    order_key=None,
    parent_run_id=None,
    root_run_id=None,
    step_id=None,
    depth=0,
    hops=0,
    timeout_seconds=300.0,
    actor=Actor(kind="user", id="U1"),
    reply_to=None,
    waiting_for=None,
    cancel_requested=False,
    created_at=NOW,
    available_at=NOW,
    started_at=NOW,
    finished_at=NOW,
    cost_usd=0.0,
    usage=Usage(),
)
QUESTION = Clarification(
    id="c",
    tenant="default",
    run_id="r",
    root_run_id="r",
    key="k",
    agent="standup",
    trace_id=TRACE,
    kind=ClarificationKind.CHOICE,
    question="Which city?",
    options=("Berlin", "Paris"),
    schema=None,
    status=ClarificationStatus.ASKED,
    answer=None,
    comment=None,
    answered_by=None,
    asked_at=NOW,
    deadline=None,
    answered_at=None,
)


APPROVED: dict[str, Any] = {
    "status": ClarificationStatus.ANSWERED,
    "answered_by": "mia",
    "kind": ClarificationKind.CONFIRMATION,
    "purpose": "approval",
}


def delivery(kind: str, body: dict[str, Any] | None = None) -> Delivery:
    return Delivery(
        seq=1,
        id="d",
        tenant="default",
        kind=kind,
        target=ReplyTo(channel="C1"),
        trace_id=TRACE,
        run_id="r",
        event_id=None,
        clarification_id="c",
        body=body,
        status=DeliveryStatus.ATTEMPTING,
        attempt=1,
        next_try=NOW,
        created_at=NOW,
    )


async def load(kind: str, *, found: Any = None, body: dict[str, Any] | None = None) -> Any:
    async def read(_: str) -> Any:
        return found

    return await DeliveryContent(result=read, clarification=read).load(delivery(kind, body))


async def test_a_finished_run_is_its_output() -> None:
    found = RunResult(run=RUN, input="x", output="All green.", error=None)
    expected = ResultContent(agent="standup", run_id="r", trace_id=TRACE, text="All green.")
    assert await load("result", found=found) == expected


async def test_a_failed_run_is_its_reason() -> None:
    run = replace(RUN, status=RunStatus.TIMED_OUT)
    found = RunResult(run=run, input="x", output=None, error=RunError(code="timeout", message="over 300 s"))
    content = await load("failure", found=found)
    assert isinstance(content, FailureContent)
    assert (content.status, content.code, content.message) == ("timed_out", "timeout", "over 300 s")


async def test_an_open_question_has_its_choices() -> None:
    content = await load("question", found=QUESTION)
    assert isinstance(content, QuestionContent)
    assert (content.question, content.options, content.fields) == ("Which city?", ("Berlin", "Paris"), False)
    assert (content.answerers, content.tool, content.reminder) == ("", None, 0)


async def test_an_approval_says_which_call_who_may_answer_and_until_when() -> None:
    asked = replace(
        QUESTION,
        kind=ClarificationKind.CONFIRMATION,
        purpose="approval",
        details={"tool": "send_email", "arguments": {"to": "a@b.example"}, "why": "approval: ask"},
        may_answer=("U0ANNA", "S0OPS"),
        not_requester=True,
        requester="U0BERT",
        deadline=NOW,
        escalated_at=NOW,
    )
    content = await load("reminder", found=asked, body={"number": 2})
    assert isinstance(content, QuestionContent)
    assert (content.approval, content.tool, content.arguments) == (True, "send_email", {"to": "a@b.example"})
    assert content.answerers == "U0ANNA, members of S0OPS but not U0BERT"
    assert (content.why, content.deadline, content.reminder, content.escalated) == ("approval: ask", NOW, 2, True)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"status": ClarificationStatus.ANSWERED, "answer": "Paris", "answered_by": "anna"}, "Answered by anna: Paris"),
        ({"status": ClarificationStatus.EXPIRED}, "Nobody answered in time."),
        ({"status": ClarificationStatus.CANCELLED}, "No answer is needed any more."),
        (
            {
                "status": ClarificationStatus.ANSWERED,
                "answer": False,
                "answered_by": "bert",
                "kind": ClarificationKind.CONFIRMATION,
            },
            "Answered by bert: no",
        ),
        (
            {
                "status": ClarificationStatus.ANSWERED,
                "answer": "Berlin",
                "answered_by": "default",
                "on_deadline": "default",
                "answered_at": NOW,
            },
            "Nobody answered in time, so the default was taken: Berlin (2026-11-21 12:00 UTC)",
        ),
        (
            {**APPROVED, "answer": True, "answered_at": NOW},
            "Approved by mia (2026-11-21 12:00 UTC)",
        ),
        ({**APPROVED, "answer": {"approved": False, "reason": "too soon"}}, "Rejected by mia: too soon"),
        ({**APPROVED, "answer": False}, "Rejected by mia"),
    ],
)
@pytest.mark.parametrize("kind", ["question", "answered"])
async def test_a_question_that_was_closed_meanwhile_has_no_buttons_any_more(
    kind: str, changes: dict[str, Any], outcome: str
) -> None:
    content = await load(kind, found=replace(QUESTION, **changes))
    assert isinstance(content, AnsweredContent)
    assert (content.agent, content.question, content.outcome) == ("standup", "Which city?", outcome)


async def test_an_approval_with_changed_arguments_shows_those_that_were_approved() -> None:
    details = {"tool": "send_email", "arguments": {"to": "all@b.example"}}
    approved = replace(
        QUESTION, **{**APPROVED, "answer": {"approved": True, "arguments": {"to": "me@b.example"}}, "details": details}
    )
    content = await load("answered", found=approved)
    assert isinstance(content, AnsweredContent)
    assert (content.tool, content.arguments) == ("send_email", {"to": "me@b.example"})
    assert content.outcome == "Approved with the arguments above by mia"


async def test_a_notice_is_its_body() -> None:
    body = {"text": "These exist:", "items": [{"name": "/standup", "description": "Sums up"}]}
    content = await load("notice", body=body)
    assert content == NoticeContent(text="These exist:", trace_id=TRACE, items=(("/standup", "Sums up"),))


@pytest.mark.parametrize("kind", ["result", "failure", "question", "reminder", "answered"])
async def test_what_is_gone_is_said_to_be_gone(kind: str) -> None:
    with pytest.raises(NotFoundError):
        await load(kind)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (None, ""),
        ("a", "a"),
        ({"text": "a"}, "a"),
        (3, "3"),
        ([1], "[\n  1\n]"),
        ({1: NOW}, '{\n  "1": "2026-11-21T12:00:00+00:00"\n}'),
        ({"answer": "so", "sources": []}, "so"),
        (
            {"answer": "so", "sources": [{"step": "look", "agent": "scout", "run_id": "r", "output": "x " * 200}]},
            "so\n\nSources:\n• scout (look): " + "x " * 79 + "x…",
        ),
        ({"answer": "*a* (x)\n1", "sources": [{"step": "a", "agent": "x", "output": "1"}]}, "*a* (x)\n1"),
    ],
)
def test_any_output_can_be_shown(output: Any, text: str) -> None:
    assert as_text(output) == text
