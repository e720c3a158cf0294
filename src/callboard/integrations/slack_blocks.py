"""What a message to people looks like: results, failures, questions, lists and notices as Slack blocks; pure.

Slack refuses a message that breaks one of its limits as a whole (`invalid_blocks`), so every limit is kept here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from callboard.integrations.slack_events import ANSWER_ACTION
from callboard.integrations.slack_text import escape, harmless, shorten, split
from callboard.state.clarifications import ClarificationKind

MAX_BLOCKS = 50
MAX_SECTION = 3000
MAX_HEADER = 150
MAX_TEXT = 40_000
MAX_BUTTON_TEXT = 75
MAX_BUTTON_VALUE = 2000
MAX_ACTIONS = 25
MAX_QUOTE = 300
MAX_OPTIONS = 100
"""More options than this are not buttons any more: the answer is typed."""

_SHORTENED = "_… shortened: {missing} more characters. `callboard runs show {run_id}` shows all of it._"
_REPEAT = "This may be a repeat: whether an earlier message with the same content arrived is unknown."


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """`text` is what notifications and screen readers get; `blocks` is what is seen."""

    text: str
    blocks: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultContent:
    """What an agent answered."""

    agent: str
    run_id: str
    trace_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureContent:
    """Why an agent has no answer; `status` is the run's (failed, timed_out, cancelled)."""

    agent: str
    run_id: str
    trace_id: str
    status: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionContent:
    """A question that a run waits on; `typed_json` says that an answer typed into the form is read as JSON."""

    agent: str
    run_id: str
    trace_id: str
    clarification_id: str
    kind: ClarificationKind
    question: str
    options: tuple[str, ...] = ()
    typed_json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeContent:
    """Something that Callboard itself has to say; `items` is a list of names and what they are for."""

    text: str
    trace_id: str
    title: str = ""
    items: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredContent:
    """What takes the place of a question once it is closed: no buttons, but who answered what."""

    agent: str
    trace_id: str
    question: str
    outcome: str


Content = ResultContent | FailureContent | QuestionContent | AnsweredContent | NoticeContent


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerValue:
    """What a button of a question carries; `answer` is the answer itself, JSON.

    `question` is its beginning, for the form that a button without an answer opens; `typed_json` says that what is
    typed there is read as JSON.
    """

    clarification_id: str
    run_id: str
    answer: Any = None
    typed_json: bool = False
    question: str = ""

    def to_text(self) -> str:
        """At most 2,000 characters, else the option cannot be a button."""
        record = {"c": self.clarification_id, "r": self.run_id, "a": self.answer}
        if self.typed_json:
            record["j"] = True
        if self.question:
            record["q"] = self.question
        return orjson.dumps(record).decode()

    @staticmethod
    def from_text(text: str) -> AnswerValue | None:
        """None for what no button of ours carries."""
        try:
            record = orjson.loads(text)
            return AnswerValue(
                clarification_id=str(record["c"]),
                run_id=str(record["r"]),
                answer=record.get("a"),
                typed_json=record.get("j") is True,
                question=str(record.get("q", "")),
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return None


def render(content: Content, *, delivery_id: str, repeat: bool = False) -> Message:
    """The message for one delivery. Its footer's block id names the delivery, which is how it is found again."""
    text, body, agent = _body(content)
    if repeat:
        body = [_context(_REPEAT), *body]
    footer = _context(f"{escape(agent)} · trace `{escape(content.trace_id)}`", block_id=footer_id(delivery_id))
    return Message(text=shorten(text, MAX_TEXT), blocks=(*body[: MAX_BLOCKS - 1], footer))


def _body(content: Content) -> tuple[str, list[dict[str, Any]], str]:
    """The escaped text, the blocks above the footer and whose message it is."""
    match content:
        case ResultContent():
            text = escape(content.text).strip() or "_The agent finished without an answer._"
            return text, _sections(text, content.run_id), content.agent
        case FailureContent():
            text = _failure_text(content)
            return text, _sections(text, content.run_id), content.agent
        case QuestionContent():
            text = escape(content.question).strip() or "A question"
            return text, _question(content, text), content.agent
        case AnsweredContent():
            text = "\n".join(
                part for part in (escape(content.question).strip(), escape(content.outcome).strip()) if part
            )
            return text, _sections(text), content.agent
        case NoticeContent():
            text = _notice_text(content)
            return text, [*_header(content.title), *_sections(text)], "Callboard"


def footer_id(delivery_id: str) -> str:
    """The block id that marks a delivery's message in a channel's history."""
    return f"callboard:{delivery_id}"


def _failure_text(content: FailureContent) -> str:
    what = {"timed_out": "ran out of time", "cancelled": "was cancelled"}.get(content.status, "failed")
    reason = escape(content.message).strip()
    code = f" (`{escape(content.code)}`)" if content.code else ""
    return f":warning: *{escape(content.agent)}* {what}{code}" + (f": {reason}" if reason else ".")


def _notice_text(content: NoticeContent) -> str:
    lines = [escape(content.text).strip()]
    lines += [f"• *{escape(name)}* {escape(about)}".rstrip() for name, about in content.items]
    return "\n".join(line for line in lines if line) or "_Nothing to list._"


def _question(content: QuestionContent, text: str) -> list[dict[str, Any]]:
    """The question, then its buttons in rows of 25."""
    buttons = _buttons(content)
    rows = [buttons[start : start + MAX_ACTIONS] for start in range(0, len(buttons), MAX_ACTIONS)]
    actions = [
        {"type": "actions", "block_id": f"callboard:question:{content.clarification_id}:{number}", "elements": row}
        for number, row in enumerate(rows)
    ]
    return [*_sections(text, content.run_id), *actions]


def _buttons(content: QuestionContent) -> list[dict[str, Any]]:
    match content.kind:
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
        return [_button(content, "open", "Answer…", None)]
    if content.kind is not ClarificationKind.CHOICE:
        buttons[0]["style"] = "primary"
    return buttons


def _button(content: QuestionContent, suffix: str, label: str, answer: Any) -> dict[str, Any]:
    value = AnswerValue(
        clarification_id=content.clarification_id,
        run_id=content.run_id,
        answer=answer,
        typed_json=content.typed_json,
        question=shorten(harmless(content.question), MAX_QUOTE) if suffix == "open" else "",
    )
    return {
        "type": "button",
        "action_id": f"{ANSWER_ACTION}.{suffix}",
        "text": _plain(shorten(harmless(label).strip() or "(empty)", MAX_BUTTON_TEXT)),
        "value": value.to_text(),
    }


def _header(title: str) -> list[dict[str, Any]]:
    shown = shorten(harmless(title).strip(), MAX_HEADER)
    return [{"type": "header", "text": _plain(shown)}] if shown else []


def _sections(text: str, run_id: str = "") -> list[dict[str, Any]]:
    """The escaped text as sections; what does not fit into one message is cut, and said."""
    pieces = split(text, MAX_SECTION)
    kept: list[str] = []
    room = MAX_TEXT - 2 * MAX_SECTION
    for piece in pieces:
        if len(piece) > room:
            break
        kept.append(piece)
        room -= len(piece)
    missing = sum(len(piece) for piece in pieces[len(kept) :])
    blocks = [_section(piece) for piece in kept]
    if missing:
        blocks.append(_section(_SHORTENED.format(missing=missing, run_id=run_id or "RUN_ID")))
    return blocks


def _section(text: str) -> dict[str, Any]:
    """`verbatim` keeps Slack from turning channel names and URLs in the text into links of its own."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _context(text: str, *, block_id: str | None = None) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": True}]}
    return {**block, "block_id": block_id} if block_id else block


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": True}
