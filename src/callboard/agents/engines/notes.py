"""The lines of a run's trace: what the model thought and wanted, what was decided, what came back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from pydantic import JsonValue

from callboard.agents.engine import EffectKey, Note
from callboard.agents.engines.text_limits import clipped
from callboard.llm.provider import LLMResponse, PassedOver, ToolCall

SHOWN_CHARS = 500
Redact = Callable[[str], str]


def model_notes(
    response: LLMResponse, *, seconds: float, turn: int, redact: Redact, purpose: str | None = None
) -> list[Note]:
    """One call of a model, after a line for each one that was asked before it in vain; `purpose` where it was not for
    the next answer. `seconds` is what all of them took."""
    failed: list[Note] = []
    left = seconds
    for each in response.passed_over:
        failed.append(_failed_note(each, seconds=left - each.seconds_before, turn=turn, redact=redact))
        left = each.seconds_before
    return [*failed, _model_note(response, seconds=left, turn=turn, redact=redact, purpose=purpose)]


def _failed_note(failed: PassedOver, *, seconds: float, turn: int, redact: Redact) -> Note:
    """Of a kind of its own: what counts calls and their cost counts no such line."""
    data: dict[str, JsonValue] = {
        "turn": turn,
        "model": failed.model,
        "code": failed.code,
        "reason": clipped(redact(failed.reason), SHOWN_CHARS),
        "duration_ms": round(max(0.0, seconds) * 1000, 1),
    }
    return Note(kind="model_failed", data=data)


def _model_note(response: LLMResponse, *, seconds: float, turn: int, redact: Redact, purpose: str | None) -> Note:
    data: dict[str, JsonValue] = {
        "turn": turn,
        "model": response.model,
        "input_tokens": response.input_tokens,
        "output_tokens": response.output_tokens,
        "cost_usd": response.cost_usd,
        "duration_ms": round(seconds * 1000, 1),
    }
    if response.content.strip():
        data["thought"] = clipped(redact(response.content), SHOWN_CHARS)
    if purpose is not None:
        data["purpose"] = purpose
    return Note(kind="model_call", data=data)


def call_note(call: ToolCall, key: EffectKey, redact: Redact) -> Note:
    """The model wants this."""
    given = call.malformed if call.malformed is not None else arguments_text(call.arguments)
    data = {"tool": clipped(call.name, 100), "key": key.text, "arguments": clipped(redact(given), SHOWN_CHARS)}
    return Note(kind="tool_call", data=data)


def result_note(tool: str, key: EffectKey, text: str, *, ok: bool, seconds: float | None, redact: Redact) -> Note:
    """This is what came of it."""
    data: dict[str, JsonValue] = {
        "tool": clipped(tool, 100),
        "key": key.text,
        "ok": ok,
        "result": clipped(redact(text), SHOWN_CHARS),
        "chars": len(text),
    }
    if seconds is not None:
        data["duration_ms"] = round(seconds * 1000, 1)
    return Note(kind="tool_result", data=data)


def policy_note(tool: str, key: EffectKey, verdict: str, why: str) -> Note:
    """A call was not simply carried out: `ask` or `deny`, and why."""
    return Note(kind="policy", data={"tool": tool, "key": key.text, "decision": verdict, "why": why})


def approval_note(tool: str, key: EffectKey, answer: str, *, by: str | None, reason: str | None, edited: bool) -> Note:
    """What people said to a call: `approved`, `rejected`, or `expired` where nobody did."""
    data: dict[str, JsonValue] = {"tool": tool, "key": key.text, "answer": answer, "by": by, "reason": reason}
    if edited:
        data["edited"] = True
    return Note(kind="approval", data=data)


def arguments_text(arguments: Mapping[str, JsonValue]) -> str:
    return json.dumps(dict(arguments), ensure_ascii=False)
