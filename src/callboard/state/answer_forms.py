"""Whether an answer has the form that its question wants; pure (DESIGN.md, API)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from callboard.errors import InvalidInputError
from callboard.schema_check import schema_problem, value_problems
from callboard.state.clarifications import Clarification, ClarificationKind

_EDITED = {"approval": "arguments", "plan": "plan"}
"""What an approval in the form of an object may hold in place of what it was asked about, by the question's purpose."""


def check_answer(question: Clarification, answer: Any) -> None:
    """Raises InvalidInputError (HTTP 422), naming each problem, for an answer of the wrong form."""
    match question.kind:
        case ClarificationKind.CONFIRMATION if question.purpose in _EDITED and isinstance(answer, dict):
            _check_approval(question, answer, _EDITED[question.purpose])
        case ClarificationKind.CONFIRMATION if not isinstance(answer, bool):
            edited = _EDITED.get(question.purpose)
            raise _wrong(question, answer, "true or false" if edited is None else _approval(edited))
        case ClarificationKind.CHOICE if answer not in question.options:
            raise _wrong(question, answer, "one of " + ", ".join(question.options))
        case ClarificationKind.INPUT if question.schema is None and not isinstance(answer, str):
            raise _wrong(question, answer, "a text")
        case ClarificationKind.INPUT if question.schema is not None:
            _refuse(question, answer_problems(question.schema, answer))
        case ClarificationKind.ACTION if not (isinstance(answer, dict) and isinstance(answer.get("done"), bool)):
            raise _wrong(question, answer, '{"done": true} or {"done": false}')
        case _:
            return


def answer_problems(schema: dict[str, Any], answer: Any) -> list[str]:
    """What is wrong with an answer by a schema, one sentence a problem; empty where nothing is."""
    # The schema may be of anything, and whoever wrote it may not have known how: nothing fits one that is none.
    unusable = schema_problem({"type": "object", "properties": {"answer": schema}})
    if unusable is not None:
        return [f"the question's schema cannot be used: {unusable}"]
    try:
        return value_problems(schema, answer)
    except Exception as error:  # noqa: BLE001  # references that lead nowhere or in a circle show only now
        return [f"the question's schema cannot be used: {type(error).__name__}"]


def changes_call(answer: Any) -> bool:
    """Whether an answer, if it is one to an approval of a call, may give that other arguments."""
    return isinstance(answer, dict) and answer.get("approved") is True and isinstance(answer.get("arguments"), dict)


def edited_arguments(question: Clarification, answer: Any) -> dict[str, Any] | None:
    """The arguments that an approval gives the call in place of its own; None where it leaves those."""
    if question.purpose != "approval" or not changes_call(answer) or answer["arguments"] == question.arguments:
        return None
    given: dict[str, Any] = answer["arguments"]
    return given


def refuse_edit(question: Clarification, problems: Sequence[str]) -> None:
    """Raises InvalidInputError (HTTP 422) where there are problems with what an approval is to change."""
    if problems:
        other = "another plan" if question.purpose == "plan" else "other arguments"
        raise InvalidInputError(
            f"the answer does not fit the question {question.id}: {'; '.join(problems)}. The question stays open: "
            f"send {other}, approve what was asked, or reject it",
            code="invalid_answer",
            field="answer",
        )


def is_approved(answer: Any) -> bool:
    """Whether an answer to an approval (in either form) lets the call happen."""
    return answer is True or (isinstance(answer, dict) and answer.get("approved") is True)


def _approval(edited: str) -> str:
    form = f'{{"approved": true or false}}, with "{edited}" (an object) to approve another one, or with a "reason"'
    return f"true, false or {form}"


def _check_approval(question: Clarification, answer: dict[str, Any], edited: str) -> None:
    unknown = sorted(set(answer) - {"approved", edited, "reason"})
    if unknown or not isinstance(answer.get("approved"), bool):
        raise _wrong(question, answer, _approval(edited))
    problems = []
    if not isinstance(answer.get("reason"), str | None):
        problems.append("reason: not a text")
    given = answer.get(edited)
    if given is not None and not answer["approved"]:
        problems.append(f"{edited}: only an approval has that")
    elif given is not None and not isinstance(given, dict):
        problems.append(f"{edited}: not an object")
    elif given is not None and question.schema is not None:
        refuse_edit(question, [*problems, *answer_problems(question.schema, given)])
    _refuse(question, problems)


def _refuse(question: Clarification, problems: list[str]) -> None:
    if problems:
        raise InvalidInputError(
            f"the answer does not fit the question {question.id}: {'; '.join(problems)}",
            code="invalid_answer",
            field="answer",
        )


def _wrong(question: Clarification, answer: Any, wanted: str) -> InvalidInputError:
    shown = repr(answer)[:80]
    return InvalidInputError(
        f"{shown} does not answer the {question.kind} question {question.id}: send {wanted}",
        code="invalid_answer",
        field="answer",
    )
