"""Where a run stands, read from its entries alone; pure, so that a resumed run cannot stand anywhere else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from callboard.agents.engine import EffectKey
from callboard.llm.provider import Message, ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCall:
    """A call that the model wants and that has no result yet."""

    key: EffectKey
    call: ToolCall


def next_call(entries: Sequence[Message], *, run_id: str, step: str) -> PendingCall | None:
    """The first call of the last model answer without a result, None when it is the model's turn.

    Calls are carried out in order, so the results since that answer count them.
    """
    answers = [position for position, message in enumerate(entries) if message.role == "assistant"]
    if not answers:
        return None
    calls = entries[answers[-1]].tool_calls
    results = sum(entry.role == "tool" for entry in entries[answers[-1] :])
    if results >= len(calls):
        return None
    key = EffectKey(run_id=run_id, step=step, model_turn=len(answers) - 1, index=results)
    return PendingCall(key=key, call=calls[results])


def calls_of_next_answer(
    entries: Sequence[Message], calls: Sequence[ToolCall], *, run_id: str, step: str
) -> list[PendingCall]:
    """The calls of an answer that is about to be added to the entries, with the keys they will have."""
    turn = sum(entry.role == "assistant" for entry in entries)
    return [
        PendingCall(key=EffectKey(run_id=run_id, step=step, model_turn=turn, index=index), call=call)
        for index, call in enumerate(calls)
    ]


def calls_so_far(entries: Sequence[Message]) -> list[ToolCall]:
    """Every call the model has asked for, oldest first."""
    return [call for message in entries for call in message.tool_calls]


def call_digest(call: ToolCall) -> str:
    """The same for the same tool with the same arguments, whatever the order of their keys."""
    arguments = json.dumps(dict(call.arguments), sort_keys=True, separators=(",", ":"))
    text = f"{call.name}\n{arguments}\n{call.malformed or ''}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
