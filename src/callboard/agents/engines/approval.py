"""Asking people whether a call may be made, and reading what they said; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import JsonValue

from callboard.agents.engine import Answer, EffectKey, Question, QuestionRules
from callboard.agents.engines.place import call_digest
from callboard.agents.tools.tool import Tool
from callboard.llm.provider import ToolCall

_DIGEST_CHARS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """It may be made; with `arguments`, those and not the model's."""

    arguments: Mapping[str, JsonValue] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """It must not be made."""

    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Nobody has said anything in time."""


Reply: TypeAlias = Approved | Rejected | Expired


def approval_question(
    agent: str,
    tool: Tool,
    call: ToolCall,
    key: EffectKey,
    *,
    why: str,
    rules: QuestionRules | None,
    policy: Mapping[str, JsonValue],
) -> Question:
    """Bound to the call: other arguments, or another place in the run, are another question. What it is about stands in
    its details, which each view shows in its own form; `policy` is what answers that change the call are judged by."""
    digest = call_digest(call)
    return Question(
        key=f"approval/{key.text}/{digest[:_DIGEST_CHARS]}",
        kind="confirmation",
        text=f"{agent} wants to call {tool.name}. May it?",
        schema=tool.parameters,
        purpose="approval",
        details={"tool": tool.name, "arguments": dict(call.arguments), "digest": digest, "why": why, **policy},
        digest=digest,
        rules=rules,
    )


def reply_of(answer: Answer) -> Reply:
    """Anything but a clear yes is a no."""
    if answer.status == "expired":
        return Expired()
    value = answer.value
    if value is True:
        return Approved(arguments=None)
    if isinstance(value, dict) and value.get("approved") is True:
        arguments = value.get("arguments")
        return Approved(arguments=arguments if isinstance(arguments, dict) else None)
    reason = value.get("reason") if isinstance(value, dict) else None
    return Rejected(reason=str(reason) if reason else answer.comment)
