"""Answers to our own questions: which click or form is one; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from callboard.integrations.slack_events import ANSWER_ACTION, SlackEvent
from callboard.integrations.slack_question_blocks import EDIT, OPEN, REJECT, AnswerValue
from callboard.messaging.events import EventType

_LONGEST_METADATA = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class FormWanted:
    """Somebody pressed a button that opens a form; `how` is which one (open, edit, reject)."""

    value: AnswerValue
    how: str = OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerGiven:
    """Somebody answered. `response_url` and `message_ts` lead to the message that asked.

    The answer is `answer`, or what `entered` in the form `how` comes to: block id → action id → text.
    """

    clarification_id: str
    run_id: str
    answer: Any
    response_url: str | None
    channel: str | None
    message_ts: str | None
    how: str | None = None
    entered: Mapping[str, Mapping[str, str]] | None = None


def read_answer(event: SlackEvent) -> AnswerGiven | FormWanted | None:
    """None for everything that is not about one of our questions, or that only looks so."""
    if event.event_type is EventType.SLACK_ACTION:
        return _click(event)
    if event.event_type is EventType.SLACK_VIEW and event.payload["view"]["callback_id"] == ANSWER_ACTION:
        return _form(event.payload["view"])
    return None


def form_metadata(event: SlackEvent, wanted: FormWanted) -> str:
    """What a form remembers: which question it answers, how, and where that stands."""
    known = {"v": wanted.value.to_text(), "h": wanted.how}
    where = {"u": event.response_url, "c": event.channel_id, "t": event.payload["ts"]}
    metadata = orjson.dumps({**known, **where}).decode()
    return metadata if len(metadata) <= _LONGEST_METADATA else orjson.dumps(known).decode()


def _click(event: SlackEvent) -> AnswerGiven | FormWanted | None:
    action_id = event.payload["action"]["action_id"]
    if not action_id.startswith(f"{ANSWER_ACTION}."):
        return None
    value = AnswerValue.from_text(event.payload["action"]["value"])
    if value is None:
        return None
    how = action_id.removeprefix(f"{ANSWER_ACTION}.")
    if how in (OPEN, EDIT, REJECT):
        return FormWanted(value=value, how=how)
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
    how = remembered.get("h")
    return AnswerGiven(
        clarification_id=value.clarification_id,
        run_id=value.run_id,
        answer=None,
        response_url=remembered.get("u"),
        channel=remembered.get("c"),
        message_ts=remembered.get("t"),
        how=how if how in (EDIT, REJECT) else OPEN,
        entered=view["values"],
    )
