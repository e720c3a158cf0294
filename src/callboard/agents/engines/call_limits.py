"""What a run may take: model calls, tokens, tool calls, and the same call over and over; pure (RELIABILITY.md, G4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from callboard.agents.engine import Failed, Usage, WorkLimits
from callboard.agents.engines.place import call_digest, calls_so_far
from callboard.llm.provider import LLMResponse, Message


def enough_asked(entries: Sequence[Message], used: Usage, limits: WorkLimits) -> Failed | None:
    """Why no further model call may be made, None when one may. `used` is what the whole run has used so far."""
    calls = sum(entry.role == "assistant" or entry.stands_for is not None for entry in entries)
    if calls >= limits.max_model_calls:
        return _stopped(
            "model_call_limit",
            f"the run has made {calls} model calls and has no answer yet; limits.max_model_calls is "
            f"{limits.max_model_calls}",
            Usage(),
        )
    tokens = used.input_tokens + used.output_tokens
    if limits.max_tokens is not None and tokens >= limits.max_tokens:
        return _stopped(
            "token_limit",
            f"the run has used {tokens} tokens and has no answer yet; limits.max_tokens is {limits.max_tokens}",
            Usage(),
        )
    return None


def too_many_calls(entries: Sequence[Message], response: LLMResponse, limits: WorkLimits) -> Failed | None:
    """Why the calls of this answer are not carried out, None when they may be."""
    if not response.tool_calls:
        return None
    before = calls_so_far(entries)
    number = len(before) + len(response.tool_calls)
    if number > limits.max_tool_calls:
        return _stopped(
            "tool_call_limit",
            f"the model wants its tool call number {number}; limits.max_tool_calls is {limits.max_tool_calls}",
            Usage.of(response),
        )
    times = Counter(call_digest(call) for call in (*before, *response.tool_calls))
    for call in response.tool_calls:
        if times[call_digest(call)] >= limits.max_same_call:
            return _stopped(
                "tool_call_loop",
                f"the model has asked {times[call_digest(call)]} times for {call.name[:100]} with the same arguments: "
                f"it goes in circles",
                Usage.of(response),
            )
    return None


def _stopped(code: str, message: str, usage: Usage) -> Failed:
    return Failed(code=code, message=message, retryable=False, usage=usage)
