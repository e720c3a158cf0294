"""What a question looks like in Slack: its text, what it is about, its buttons, and how it ended; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from callboard.integrations.slack_block_parts import (
    MAX_ACTIONS,
    MAX_BUTTON_TEXT,
    MAX_BUTTON_VALUE,
    code,
    context,
    plain,
    sections,
)
from callboard.integrations.slack_events import ANSWER_ACTION
from callboard.integrations.slack_text import escape, harmless, shorten
from callboard.state.clarifications import MAX_REMINDERS, ClarificationKind

MAX_OPTIONS = 100
"""More options than this are not buttons any more: the answer is typed."""

MAX_ARGUMENTS = 2500
"""Characters of a call's arguments that a message shows."""

OPEN, EDIT, REJECT = "open", "edit", "reject"
"""Buttons that open a form: to type an answer, to approve other arguments, to say why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionContent:
    """A question that a run waits on. `fields` says that its answer is filled into a form of several fields.

    An approval has the `tool` and the `arguments` it is to be called with, and `why` somebody is asked. `answerers` is
    who may answer, empty where everybody may. `reminder` counts the times it is said again, 0 for the first.
    """

    agent: str
    run_id: str
    trace_id: str
    clarification_id: str
    kind: ClarificationKind
    question: str
    options: tuple[str, ...] = ()
    fields: bool = False
    approval: bool = False
    tool: str | None = None
    arguments: Mapping[str, Any] | None = None
    why: str = ""
    answerers: str = ""
    deadline: datetime | None = None
    reminder: int = 0
    escalated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredContent:
    """What takes the place of a question once it is closed: no buttons, but who answered what."""

    agent: str
    trace_id: str
    question: str
    outcome: str
    tool: str | None = None
    arguments: Mapping[str, Any] | None = None
    clarification_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerValue:
    """What a button of a question carries; `answer` is the answer itself, JSON."""

    clarification_id: str
    run_id: str
    answer: Any = None

    def to_text(self) -> str:
        """At most 2,000 characters, else the option cannot be a button."""
        return orjson.dumps({"c": self.clarification_id, "r": self.run_id, "a": self.answer}).decode()

    @staticmethod
    def from_text(text: str) -> AnswerValue | None:
        """None for what no button of ours carries."""
        try:
            record = orjson.loads(text)
            return AnswerValue(clarification_id=str(record["c"]), run_id=str(record["r"]), answer=record.get("a"))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return None


def question_text(content: QuestionContent) -> str:
    """The escaped text of notifications."""
    text = escape(content.question).strip() or "A question"
    return f"Still waiting for an answer: {text}" if content.reminder else text


def question_blocks(content: QuestionContent) -> list[dict[str, Any]]:
    """The question and what it is about, then its buttons in rows of 25."""
    blocks = []
    if content.reminder:
        blocks.append(context(f"Reminder {content.reminder} of {MAX_REMINDERS}: this still waits for an answer."))
    elif content.escalated:
        blocks.append(context("Nobody answered this in time, so it is asked here."))
    blocks += sections(escape(content.question).strip() or "A question", content.run_id)
    blocks += call_blocks(content.tool, content.arguments, content.clarification_id)
    notes = _notes(content)
    if notes:
        blocks.append(context(notes))
    buttons = _buttons(content)
    rows = [buttons[start : start + MAX_ACTIONS] for start in range(0, len(buttons), MAX_ACTIONS)]
    return blocks + [
        {"type": "actions", "block_id": f"callboard:question:{content.clarification_id}:{number}", "elements": row}
        for number, row in enumerate(rows)
    ]


def answered_text(content: AnsweredContent) -> str:
    """The escaped text of a question that is closed."""
    parts = (escape(content.question).strip(), escape(content.outcome).strip())
    return "\n".join(part for part in parts if part)


def answered_blocks(content: AnsweredContent) -> list[dict[str, Any]]:
    """What was asked, about which call, and how it ended."""
    call = call_blocks(content.tool, content.arguments, content.clarification_id)
    if not call:
        return sections(answered_text(content))
    return [*sections(escape(content.question).strip() or "A question"), *call, *sections(escape(content.outcome))]


def call_blocks(tool: str | None, arguments: Mapping[str, Any] | None, clarification_id: str) -> list[dict[str, Any]]:
    """A tool's call: its name and its arguments, shortened, with where to see all of them."""
    if tool is None:
        return []
    named = context(f"Tool *{shorten(escape(tool), 200)}*")
    if arguments is None:
        return [named]
    block, missing = code(pretty(arguments), MAX_ARGUMENTS)
    if not missing:
        return [named, block]
    where = f"`callboard clarifications show {escape(clarification_id)}`"
    return [named, block, context(f":warning: {missing} more characters are not shown here. {where} shows all.")]


def pretty(arguments: Mapping[str, Any]) -> str:
    """As JSON, a line each."""
    return orjson.dumps(dict(arguments), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str).decode()


def at(moment: datetime) -> str:
    """To the minute, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _notes(content: QuestionContent) -> str:
    notes = [shorten(escape(content.why).strip(), 500)]
    if content.answerers:
        notes.append(f"May answer: {shorten(escape(content.answerers), 500)}")
    if content.deadline is not None:
        notes.append(f"Until {at(content.deadline)}")
    return " · ".join(note for note in notes if note)


def _buttons(content: QuestionContent) -> list[dict[str, Any]]:
    match content.kind:
        case ClarificationKind.CONFIRMATION if content.approval:
            return _approval_buttons(content)
        case ClarificationKind.CONFIRMATION:
            choices: list[tuple[str, Any]] = [("Yes", True), ("No", False)]
        case ClarificationKind.ACTION:
            choices = [("Done", {"done": True}), ("Not done", {"done": False})]
        case ClarificationKind.CHOICE if 0 < len(content.options) <= MAX_OPTIONS:
            choices = [(option, option) for option in content.options]
        case _:
            choices = []
    buttons = [_button(content, str(number), label, answer) for number, (label, answer) in enumerate(choices)]
    if not buttons or any(len(button["value"]) > MAX_BUTTON_VALUE for button in buttons):
        return [_button(content, OPEN, "Fill in…" if content.fields else "Answer…")]
    if content.kind is not ClarificationKind.CHOICE:
        buttons[0]["style"] = "primary"
    return buttons


def _approval_buttons(content: QuestionContent) -> list[dict[str, Any]]:
    buttons = [{**_button(content, "0", "Approve", answer=True), "style": "primary"}]
    if content.arguments is not None:
        buttons.append(_button(content, EDIT, "Edit…"))
    return [*buttons, {**_button(content, REJECT, "Reject…"), "style": "danger"}]


def _button(content: QuestionContent, suffix: str, label: str, answer: Any = None) -> dict[str, Any]:
    value = AnswerValue(clarification_id=content.clarification_id, run_id=content.run_id, answer=answer)
    return {
        "type": "button",
        "action_id": f"{ANSWER_ACTION}.{suffix}",
        "text": plain(shorten(harmless(label).strip() or "(empty)", MAX_BUTTON_TEXT)),
        "value": value.to_text(),
    }
