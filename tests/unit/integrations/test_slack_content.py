"""What a delivery says, by its kind and by what became of the run or question meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from callboard.errors import NotFoundError
from callboard.integrations.slack_blocks import (
    AnsweredContent,
    FailureContent,
    NoticeContent,
    QuestionContent,
    ResultContent,
)
from callboard.integrations.slack_content import DeliveryContent, as_text
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
    assert (content.question, content.options, content.typed_json) == ("Which city?", ("Berlin", "Paris"), False)


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
    ],
)
@pytest.mark.parametrize("kind", ["question", "answered"])
async def test_a_question_that_was_closed_meanwhile_has_no_buttons_any_more(
    kind: str, changes: dict[str, Any], outcome: str
) -> None:
    content = await load(kind, found=replace(QUESTION, **changes))
    assert content == AnsweredContent(agent="standup", trace_id=TRACE, question="Which city?", outcome=outcome)


async def test_a_notice_is_its_body() -> None:
    body = {"text": "These exist:", "items": [{"name": "/standup", "description": "Sums up"}]}
    content = await load("notice", body=body)
    assert content == NoticeContent(text="These exist:", trace_id=TRACE, items=(("/standup", "Sums up"),))


@pytest.mark.parametrize("kind", ["result", "failure", "question", "answered"])
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
    ],
)
def test_any_output_can_be_shown(output: Any, text: str) -> None:
    assert as_text(output) == text
