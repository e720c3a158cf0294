"""Answers to our own questions: which click or form is one, and the form in which an answer is typed; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from callboard.integrations.slack_blocks import AnswerValue
from callboard.integrations.slack_events import ANSWER_ACTION, SlackEvent
from callboard.integrations.slack_text import escape, shorten
from callboard.messaging.events import EventType

ANSWER_BLOCK = "answer"
_FIELD = "text"
_LONGEST_ANSWER = 3000
_LONGEST_METADATA = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class FormWanted:
    """Somebody pressed a button that opens the form."""

    value: AnswerValue


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerGiven:
    """Somebody answered. `response_url` and `message_ts` lead to the message that asked."""

    clarification_id: str
    run_id: str
    answer: Any
    response_url: str | None
    channel: str | None
    message_ts: str | None


def read_answer(event: SlackEvent) -> AnswerGiven | FormWanted | None:
    """None for everything that is not about one of our questions, or that only looks so."""
    if event.event_type is EventType.SLACK_ACTION:
        return _click(event)
    if event.event_type is EventType.SLACK_VIEW and event.payload["view"]["callback_id"] == ANSWER_ACTION:
        return _form(event.payload["view"])
    return None


def answer_form(event: SlackEvent, value: AnswerValue) -> dict[str, Any]:
    """The modal in which an answer is typed. It remembers where the question stands in its `private_metadata`."""
    remembered = {
        "v": value.to_text(),
        "u": event.response_url,
        "c": event.channel_id,
        "t": event.payload["ts"],
    }
    metadata = orjson.dumps(remembered).decode()
    if len(metadata) > _LONGEST_METADATA:
        metadata = orjson.dumps({"v": value.to_text()}).decode()
    label = {"type": "plain_text", "text": "Your answer"}
    field = {"type": "plain_text_input", "action_id": _FIELD, "multiline": True, "max_length": _LONGEST_ANSWER}
    question = shorten(escape(value.question).strip(), 3000) or "The agent needs to know something."
    return {
        "type": "modal",
        "callback_id": ANSWER_ACTION,
        "private_metadata": metadata,
        "title": {"type": "plain_text", "text": "Answer"},
        "submit": {"type": "plain_text", "text": "Send"},
        "close": {"type": "plain_text", "text": "Cancel"},
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": question, "verbatim": True}},
            {"type": "input", "block_id": ANSWER_BLOCK, "label": label, "element": field},
        ],
    }


def _click(event: SlackEvent) -> AnswerGiven | FormWanted | None:
    action_id = event.payload["action"]["action_id"]
    if not action_id.startswith(f"{ANSWER_ACTION}."):
        return None
    value = AnswerValue.from_text(event.payload["action"]["value"])
    if value is None:
        return None
    if action_id == f"{ANSWER_ACTION}.open":
        return FormWanted(value=value)
    return AnswerGiven(
        clarification_id=value.clarification_id,
        run_id=value.run_id,
        answer=value.answer,
        response_url=event.response_url,
        channel=event.channel_id or None,
        message_ts=event.payload["ts"],
    )


def _form(view: dict[str, Any]) -> AnswerGiven | None:
    try:
        remembered = orjson.loads(view["private_metadata"])
        value = AnswerValue.from_text(remembered["v"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    if value is None:
        return None
    typed = view["values"].get(ANSWER_BLOCK, {}).get(_FIELD, "")
    return AnswerGiven(
        clarification_id=value.clarification_id,
        run_id=value.run_id,
        answer=_typed(typed, as_json=value.typed_json),
        response_url=remembered.get("u"),
        channel=remembered.get("c"),
        message_ts=remembered.get("t"),
    )


def _typed(text: str, *, as_json: bool) -> Any:
    """Questions with a schema take JSON; what is not JSON is passed on as it is and judged by the schema."""
    if not as_json:
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
