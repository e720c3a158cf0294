"""Rows of questions, and the records they are read as."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping

from callboard.state.clarifications import Clarification, ClarificationKind, ClarificationStatus, QuestionDraft


def rules_row(question: QuestionDraft, requester: str, now: datetime) -> dict[str, Any]:
    """What a question's row says about its purpose, its answerers and its deadline."""
    remind = question.remind_seconds
    return {
        "purpose": question.purpose,
        "details": dict(question.details) or None,
        "digest": question.digest,
        "may_answer": {"named": list(question.may_answer), "not_requester": question.not_requester},
        "requester": question.requester or requester,
        "on_deadline": question.on_deadline,
        "default_answer": question.default_answer,
        "escalate_to": question.escalate_to,
        "remind_seconds": remind,
        "next_reminder": None if remind is None else now + timedelta(seconds=remind),
    }


def clarification_of(row: RowMapping) -> Clarification:
    """Rows of an earlier release have no rules: everybody may answer, and the deadline denies."""
    may_answer = row["may_answer"] or {}
    return Clarification(
        id=row["id"],
        tenant=row["tenant"],
        run_id=row["run_id"],
        root_run_id=row["root_run_id"],
        key=row["key"],
        agent=row["agent"],
        trace_id=row["trace_id"],
        kind=ClarificationKind(row["kind"]),
        question=row["question"],
        options=tuple(row["options"]),
        schema=row["schema"],
        status=ClarificationStatus(row["status"]),
        answer=row["answer"],
        comment=row["comment"],
        answered_by=row["answered_by"],
        asked_at=row["asked_at"],
        deadline=row["deadline"],
        answered_at=row["answered_at"],
        purpose=row["purpose"] or "question",
        details=row["details"] or {},
        digest=row["digest"],
        may_answer=tuple(may_answer.get("named", ())),
        not_requester=may_answer.get("not_requester") is True,
        requester=row["requester"],
        on_deadline=row["on_deadline"] or "deny",
        default_answer=row["default_answer"],
        escalate_to=row["escalate_to"],
        escalated_at=row["escalated_at"],
        remind_seconds=row["remind_seconds"],
        next_reminder=row["next_reminder"],
    )
