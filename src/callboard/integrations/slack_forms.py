"""The forms in which questions are answered: what they look like, and which answer was filled in; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from callboard.integrations.slack_events import ANSWER_ACTION
from callboard.integrations.slack_form_fields import (
    MAX_ENTERED,
    FormField,
    as_json,
    field_block,
    fields_of,
    from_json,
    place_problems,
    read_fields,
)
from callboard.integrations.slack_question_blocks import EDIT, REJECT, call_blocks
from callboard.integrations.slack_text import escape, shorten
from callboard.state.answer_forms import answer_problems
from callboard.state.clarifications import Clarification

ANSWER_BLOCK = "answer"
_FIELD = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """The answer, or what is wrong with it by block."""

    answer: Any = None
    problems: Mapping[str, str] | None = None


def has_fields(question: Clarification) -> bool:
    """Whether the answer is filled into several fields."""
    return question.schema is not None and fields_of(question.schema) is not None


def form_view(question: Clarification, how: str, metadata: str) -> dict[str, Any] | None:
    """The modal behind a button; None where what is to be edited is too long for one."""
    blocks = _blocks(question, how)
    if blocks is None:
        return None
    title = {EDIT: "Approve with changes", REJECT: "Reject"}.get(how, "Answer")
    submit = {EDIT: "Approve", REJECT: "Reject"}.get(how, "Send")
    text = shorten(escape(question.question).strip(), 3000) or "The agent needs to know something."
    shown: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}]
    shown += call_blocks(question.tool, None, question.id) if how == EDIT else []
    return {
        "type": "modal",
        "callback_id": ANSWER_ACTION,
        "private_metadata": metadata,
        "title": {"type": "plain_text", "text": title},
        "submit": {"type": "plain_text", "text": submit},
        "close": {"type": "plain_text", "text": "Cancel"},
        "blocks": [*shown, *blocks],
    }


def read_form(question: Clarification, how: str, entered: Mapping[str, Mapping[str, str]]) -> Filled:
    """The answer that a form was sent with."""
    typed = entered.get(ANSWER_BLOCK, {}).get(_FIELD, "")
    if how == REJECT:
        reason = typed.strip()
        return Filled(answer={"approved": False, "reason": reason} if reason else False)
    if how == EDIT:
        return _edited(question, typed, entered)
    fields = _answer_fields(question)
    if fields is not None:
        values, problems = read_fields(fields, entered)
        return _checked(fields, question.schema, values, problems)
    if question.schema is None or question.schema.get("type") == "string":
        return Filled(answer=typed)
    return _typed_json(question.schema, typed)


def first_block(question: Clarification, how: str) -> str:
    """Where a problem is shown that is about no field."""
    fields = _edit_fields(question) if how == EDIT else _answer_fields(question) if how != REJECT else None
    return fields[0].block_id if fields else ANSWER_BLOCK


def _blocks(question: Clarification, how: str) -> list[dict[str, Any]] | None:
    if how == REJECT:
        return [_text_block("Why not? The agent is told.", optional=True)]
    if how == EDIT:
        fields = _edit_fields(question)
        if fields is not None:
            return [field_block(field) for field in fields]
        text = as_json(question.arguments or {})
        return None if len(text) > MAX_ENTERED else [_text_block("Arguments (JSON)", initial=text)]
    answers = _answer_fields(question)
    if answers is not None:
        return [field_block(field) for field in answers]
    is_text = question.schema is None or question.schema.get("type") == "string"
    return [_text_block("Your answer" if is_text else "Your answer (JSON)")]


def _text_block(label: str, *, optional: bool = False, initial: str | None = None) -> dict[str, Any]:
    element: dict[str, Any] = {
        "type": "plain_text_input",
        "action_id": _FIELD,
        "multiline": True,
        "max_length": MAX_ENTERED,
    }
    if initial is not None:
        element["initial_value"] = initial
    return {
        "type": "input",
        "block_id": ANSWER_BLOCK,
        "optional": optional,
        "label": {"type": "plain_text", "text": label},
        "element": element,
    }


def _answer_fields(question: Clarification) -> tuple[FormField, ...] | None:
    if question.schema is None or question.purpose == "approval":
        return None
    return fields_of(question.schema)


def _edit_fields(question: Clarification) -> tuple[FormField, ...] | None:
    """One an argument that the tool's schema knows; None where not all of them have a field."""
    arguments = question.arguments or {}
    fields = None if question.schema is None else fields_of(question.schema, arguments)
    if fields is None or not set(arguments) <= {field.name for field in fields}:
        return None
    # An argument that may be empty, and is, could not be left empty in a field that Slack requires.
    return tuple(replace(field, required=field.required and field.initial != "") for field in fields)


def _edited(question: Clarification, typed: str, entered: Mapping[str, Mapping[str, str]]) -> Filled:
    fields = _edit_fields(question)
    if fields is not None:
        values, problems = read_fields(fields, entered)
        before = question.arguments or {}
        values |= {field.name: "" for field in fields if before.get(field.name) == "" and field.name not in values}
        filled = _checked(fields, question.schema, values, problems)
    else:
        filled = _typed_json(question.schema, typed)
        if filled.problems is None and not isinstance(filled.answer, dict):
            filled = Filled(problems={ANSWER_BLOCK: "the arguments are an object: {…}"})
    if filled.problems is not None:
        return filled
    if filled.answer == question.arguments:
        return Filled(answer=True)
    return Filled(answer={"approved": True, "arguments": filled.answer})


def _typed_json(schema: dict[str, Any] | None, typed: str) -> Filled:
    try:
        value = from_json(typed)
    except ValueError as error:
        return Filled(problems={ANSWER_BLOCK: str(error)})
    problems = [] if schema is None else answer_problems(schema, value)
    if problems:
        return Filled(problems={ANSWER_BLOCK: shorten("; ".join(problems), 1500)})
    return Filled(answer=value)


def _checked(
    fields: tuple[FormField, ...], schema: dict[str, Any] | None, values: dict[str, Any], problems: dict[str, str]
) -> Filled:
    if not problems and schema is not None:
        problems = place_problems(fields, answer_problems(schema, values))
    return Filled(problems=problems) if problems else Filled(answer=values)
