"""What a message to people looks like: results, failures, questions, lists and notices as Slack blocks; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from callboard.integrations.slack_block_parts import MAX_BLOCKS, MAX_TEXT, context, header, sections
from callboard.integrations.slack_question_blocks import (
    AnsweredContent,
    QuestionContent,
    answered_blocks,
    answered_text,
    question_blocks,
    question_text,
)
from callboard.integrations.slack_text import escape, shorten

FILES_TO_FOLLOW = re.compile(r" · (\d+) files? to follow$", re.MULTILINE)
"""How an answer's footer says that files come after it."""

_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]+")
"""What no name in a command has."""

_REPEAT = "This may be a repeat: whether an earlier message with the same content arrived is unknown."


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """`text` is what notifications and screen readers get; `blocks` is what is seen."""

    text: str
    blocks: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFile:
    """An artifact that an answer names, and the name by which it does."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultContent:
    """What an agent answered. Its `files` come after it; those `to_fetch` cannot be put into Slack."""

    agent: str
    run_id: str
    trace_id: str
    text: str
    files: tuple[AnswerFile, ...] = ()
    to_fetch: tuple[AnswerFile, ...] = ()


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
class NoticeContent:
    """Something that Callboard itself has to say; `items` is a list of names and what they are for."""

    text: str
    trace_id: str
    title: str = ""
    items: tuple[tuple[str, str], ...] = ()


Content = ResultContent | FailureContent | QuestionContent | AnsweredContent | NoticeContent


def render(content: Content, *, delivery_id: str, repeat: bool = False) -> Message:
    """The message for one delivery. Its footer's block id names the delivery, which is how it is found again."""
    text, body, agent = _body(content)
    if repeat:
        body = [context(_REPEAT), *body]
    told = f"{escape(agent)} · trace `{escape(content.trace_id)}`{_following(content)}"
    footer = context(told, block_id=footer_id(delivery_id))
    return Message(text=shorten(text, MAX_TEXT), blocks=(*body[: MAX_BLOCKS - 1], footer))


def _body(content: Content) -> tuple[str, list[dict[str, Any]], str]:
    """The escaped text, the blocks above the footer and whose message it is."""
    match content:
        case ResultContent():
            text = escape(content.text).strip() or "_The agent finished without an answer._"
            blocks = sections(text, content.run_id)
            if content.to_fetch:
                ways = "\n".join(f"{escape(file.name)}: {fetching(file.id, file.name)}" for file in content.to_fetch)
                return f"{text}\n\n{ways}", [*blocks, *sections(ways)], content.agent
            return text, blocks, content.agent
        case FailureContent():
            text = _failure_text(content)
            return text, sections(text, content.run_id), content.agent
        case QuestionContent():
            return question_text(content), question_blocks(content), content.agent
        case AnsweredContent():
            return answered_text(content), answered_blocks(content), content.agent
        case NoticeContent():
            text = _notice_text(content)
            return text, [*header(content.title), *sections(text)], "Callboard"


def fetching(artifact_id: str, name: str) -> str:
    """The command that fetches a file, as code."""
    return f"`callboard artifacts get {artifact_id} -f {_UNUSUAL.sub('_', name).lstrip('-') or 'file'}`"


def footer_id(delivery_id: str) -> str:
    """The block id that marks a delivery's message in a channel's history."""
    return f"callboard:{delivery_id}"


def _following(content: Content) -> str:
    count = len(content.files) if isinstance(content, ResultContent) else 0
    return f" · {count} file{'s' * (count > 1)} to follow" if count else ""


def _failure_text(content: FailureContent) -> str:
    what = {"timed_out": "ran out of time", "cancelled": "was cancelled"}.get(content.status, "failed")
    reason = escape(content.message).strip()
    code = f" (`{escape(content.code)}`)" if content.code else ""
    return f":warning: *{escape(content.agent)}* {what}{code}" + (f": {reason}" if reason else ".")


def _notice_text(content: NoticeContent) -> str:
    lines = [escape(content.text).strip()]
    lines += [f"• *{escape(name)}* {escape(about)}".rstrip() for name, about in content.items]
    return "\n".join(line for line in lines if line) or "_Nothing to list._"
