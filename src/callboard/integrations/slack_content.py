"""What a delivery says, read at the moment it is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import orjson

from callboard.errors import NotFoundError
from callboard.integrations.slack_blocks import Content, FailureContent, NoticeContent, ResultContent
from callboard.integrations.slack_files import references, with_files
from callboard.integrations.slack_forms import has_fields
from callboard.integrations.slack_question_blocks import AnsweredContent, QuestionContent, at
from callboard.state.answer_forms import is_approved
from callboard.state.answer_rights import who_may
from callboard.state.artifacts import Artifact
from callboard.state.clarifications import DEFAULT, Clarification, ClarificationKind, ClarificationStatus
from callboard.state.deliveries import Delivery
from callboard.state.runs import RunResult

_SOURCES = 10
_SOURCE_CHARS = 160
LoadResult = Callable[[str], Awaitable[RunResult | None]]
LoadClarification = Callable[[str], Awaitable[Clarification | None]]


class NamedArtifacts(Protocol):
    """What runs have made beside text."""

    async def named(self, run_id: str, ids: Sequence[str], *, tenant: str = "default") -> Sequence[Artifact]:
        """Those of the ids that this run, or one under it, has made, in no order; others are passed over.

        UnavailableError.
        """
        ...


class DeliveryContent:
    """Loads runs and clarifications and turns them into content; `load` is what the responder takes."""

    def __init__(
        self,
        *,
        result: LoadResult,
        clarification: LoadClarification,
        artifacts: NamedArtifacts | None = None,
        uploads: bool = True,
    ) -> None:
        """`artifacts` knows the files that answers name; without `uploads` none of them can be put into Slack."""
        self._result = result
        self._clarification = clarification
        self._artifacts = artifacts
        self._uploads = uploads

    async def load(self, delivery: Delivery) -> Content:
        """Raises NotFoundError when the record that the delivery is about is gone."""
        match delivery.kind:
            case "result" | "failure":
                content = result_content(await self._run(delivery), delivery.trace_id)
                return await self._with_files(content, delivery) if isinstance(content, ResultContent) else content
            case "question" | "reminder":
                question = await self._question(delivery)
                if question.status is ClarificationStatus.ASKED:
                    return question_content(question, reminder=int((delivery.body or {}).get("number", 0)))
                return answered_content(question)
            case "answered":
                return answered_content(await self._question(delivery))
            case _:
                return notice_content(delivery)

    async def _with_files(self, content: ResultContent, delivery: Delivery) -> ResultContent:
        ids = references(content.text)
        if self._artifacts is None or not ids:
            return content
        kept = await self._artifacts.named(content.run_id, ids, tenant=delivery.tenant)
        return with_files(content, kept, delivery.target, uploads=self._uploads)

    async def _run(self, delivery: Delivery) -> RunResult:
        found = await self._result(delivery.run_id) if delivery.run_id else None
        if found is None:
            raise NotFoundError(f"the run {delivery.run_id} of delivery {delivery.id} is gone")
        return found

    async def _question(self, delivery: Delivery) -> Clarification:
        found = await self._clarification(delivery.clarification_id) if delivery.clarification_id else None
        if found is None:
            raise NotFoundError(f"the question {delivery.clarification_id} of delivery {delivery.id} is gone")
        return found


def result_content(found: RunResult, trace_id: str) -> ResultContent | FailureContent:
    """The output as text, or why there is none."""
    run = found.run
    if found.error is not None:
        return FailureContent(
            agent=run.agent,
            run_id=run.run_id,
            trace_id=trace_id,
            status=run.status.value,
            code=found.error.code,
            message=found.error.message,
        )
    return ResultContent(agent=run.agent, run_id=run.run_id, trace_id=trace_id, text=as_text(found.output))


def question_content(question: Clarification, *, reminder: int = 0) -> QuestionContent:
    """An open question, with its choices and what it is about."""
    restricted = question.may_answer or question.not_requester
    why = question.details.get("why")
    return QuestionContent(
        agent=question.agent,
        run_id=question.run_id,
        trace_id=question.trace_id,
        clarification_id=question.id,
        kind=question.kind,
        question=question.question,
        options=question.options,
        fields=question.kind is ClarificationKind.INPUT and has_fields(question),
        approval=question.purpose == "approval",
        tool=question.tool,
        arguments=question.arguments,
        why=why if isinstance(why, str) and why not in question.question else "",
        answerers=who_may(question) if restricted else "",
        deadline=None if question.on_deadline == "wait" else question.deadline,
        reminder=reminder,
        escalated=question.escalated_at is not None,
    )


def answered_content(question: Clarification) -> AnsweredContent:
    """A question that is closed: who answered what, and when."""
    when = "" if question.answered_at is None else f" ({at(question.answered_at)})"
    edited = question.answer.get("arguments") if isinstance(question.answer, dict) else None
    is_edited = question.purpose == "approval" and isinstance(edited, dict)
    return AnsweredContent(
        agent=question.agent,
        trace_id=question.trace_id,
        question=question.question,
        outcome=_outcome(question) + when,
        tool=question.tool,
        arguments=edited if is_edited else question.arguments,
        clarification_id=question.id,
    )


def notice_content(delivery: Delivery) -> NoticeContent:
    """A notice's body: `text`, and optionally `title` and `items` (name and description)."""
    body = delivery.body or {}
    items = tuple((str(item.get("name", "")), str(item.get("description", ""))) for item in body.get("items", ()))
    return NoticeContent(
        text=str(body.get("text", "")), title=str(body.get("title", "")), items=items, trace_id=delivery.trace_id
    )


def as_text(output: Any) -> str:
    """An agent's output for people: text as it is, anything else as JSON; of an object with `text`, that."""
    if output is None:
        return ""
    if isinstance(output, str):
        return output
    if isinstance(output, dict) and isinstance(output.get("text"), str) and len(output) == 1:
        return str(output["text"])
    if isinstance(output, dict) and output.keys() == {"answer", "sources"} and isinstance(output["sources"], list):
        return _with_sources(output["answer"], output["sources"])
    return orjson.dumps(output, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str).decode()


def _outcome(question: Clarification) -> str:
    match question.status:
        case ClarificationStatus.ANSWERED if question.answered_by == DEFAULT and question.on_deadline == "default":
            return f"Nobody answered in time, so the default was taken: {_answer_text(question)}"
        case ClarificationStatus.ANSWERED if question.purpose == "approval":
            return _decision(question)
        case ClarificationStatus.ANSWERED:
            return f"Answered by {question.answered_by}: {_answer_text(question)}"
        case ClarificationStatus.EXPIRED:
            return "Nobody answered in time."
        case _:
            return "No answer is needed any more."


def _decision(question: Clarification) -> str:
    answer = question.answer if isinstance(question.answer, dict) else {}
    if is_approved(question.answer):
        changed = " with the arguments above" if isinstance(answer.get("arguments"), dict) else ""
        return f"Approved{changed} by {question.answered_by}"
    reason = answer.get("reason")
    return f"Rejected by {question.answered_by}" + (f": {reason}" if reason else "")


def _answer_text(question: Clarification) -> str:
    if question.kind is ClarificationKind.CONFIRMATION:
        return "yes" if is_approved(question.answer) else "no"
    if question.kind is ClarificationKind.ACTION and isinstance(question.answer, dict):
        return "done" if question.answer.get("done") else "not done"
    return as_text(question.answer)


def _with_sources(answer: Any, sources: list[Any]) -> str:
    """The answer of several agents, and briefly who said what, unless the answer begins with that itself."""
    text = as_text(answer)
    told = [source for source in sources if isinstance(source, dict)]
    if not told or text.startswith(f"*{told[0].get('step')}* ("):
        return text
    lines = []
    for source in told[:_SOURCES]:
        said = " ".join(as_text(source.get("output")).split())
        short = said if len(said) <= _SOURCE_CHARS else said[: _SOURCE_CHARS - 1] + "…"
        lines.append(f"• {source.get('agent')} ({source.get('step')}): {short}")
    if len(told) > _SOURCES:
        lines.append(f"• and {len(told) - _SOURCES} more")
    return f"{text}\n\nSources:\n" + "\n".join(lines)
