"""What a model asks a person, and how the answer is told to it; pure."""

from __future__ import annotations

import json
from typing import get_args

from pydantic import JsonValue

from callboard.agents.engine import Answer, EffectKey, Question, QuestionRules
from callboard.agents.engines.notes import arguments_text
from callboard.agents.engines.text_limits import clipped
from callboard.agents.tools.arguments import argument_problems
from callboard.config.question_settings import QuestionSettings
from callboard.llm.ask_human import ask_human_spec
from callboard.llm.provider import ToolCall
from callboard.llm.script import AskKind
from callboard.schema_check import schema_problem

_SHOWN_ARGUMENTS_CHARS = 500
_UNSEEN = "the call was begun and its end was not seen"
EXPIRED = "(nobody answered before the deadline)"


def question_of(call: ToolCall, key: EffectKey, rules: QuestionRules | None = None) -> Question | list[str]:
    """The question of an `ask_human` call, or what is wrong with it in words for the model."""
    problems = argument_problems(ask_human_spec().parameters, call.arguments)
    options = call.arguments.get("options")
    chosen = tuple(str(option) for option in options) if isinstance(options, list) else ()
    schema = call.arguments.get("schema")
    form = schema if isinstance(schema, dict) and schema else None
    kind: AskKind = "choice" if chosen else "input"
    for known in get_args(AskKind):
        if call.arguments.get("kind") == known:
            kind = known
    if kind == "choice" and not chosen:
        problems.append("arguments.options is missing: a choice needs them")
    if form is not None and kind != "input":
        problems.append(f"arguments.schema belongs to kind input, not to {kind}")
    unusable = None if form is None else schema_problem(form)
    if unusable is not None:
        problems.append(f"arguments.schema cannot be used: {unusable}")
    if problems:
        return problems
    return Question(
        key=f"ask/{key.text}",
        kind=kind,
        text=str(call.arguments["question"]),
        options=chosen if kind == "choice" else (),
        schema=form,
        rules=rules,
    )


def repeat_question(
    call: ToolCall, key: EffectKey, *, fencing: int, rules: QuestionRules | None = None, seen: str | None = None
) -> Question:
    """Asked when a call was begun under that fencing number and nobody knows how it ended; `seen` is the tool's error,
    where this process was there."""
    shown = clipped(arguments_text(call.arguments), _SHOWN_ARGUMENTS_CHARS)
    return Question(
        key=f"effect/{key.text}/{fencing}",
        kind="confirmation",
        text=f"It is not known whether {call.name} with {shown} happened: {seen or _UNSEEN}. Repeat it?",
        purpose="repeat",
        rules=rules,
    )


def question_rules(settings: QuestionSettings) -> QuestionRules:
    """The `questions` key of an agent file, as questions carry it."""
    return QuestionRules(
        may_answer=settings.may_answer,
        not_requester=settings.not_requester,
        deadline_seconds=settings.deadline_seconds,
        on_deadline=settings.on_deadline.value,
        default_answer=settings.default_answer,
        escalate_to=settings.escalate_to,
        remind_seconds=settings.remind_seconds,
    )


def answer_text(answer: Answer) -> str:
    """An answer as the model reads it."""
    if answer.status == "expired":
        return EXPIRED
    return _value_text(answer.value)


def _value_text(value: JsonValue) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
