"""What an answer of the model comes to: calls to carry out, the run's output, another try, or the end; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import JsonValue

from callboard.agents.engine import Failed, Usage, WorkLimits
from callboard.agents.engines.call_limits import too_many_calls
from callboard.agents.engines.text_limits import size_bytes, storable
from callboard.llm.provider import LLMResponse, Message
from callboard.schema_check import value_problems

MAX_CORRECTIONS = 2
CUT_OFF = (
    "Your answer was cut off because it had grown as long as an answer may be. Give the whole answer again, much "
    "shorter."
)
CUT_NOTE = "\n[cut: the model's answer had grown as long as it may be]"
_CORRECTION = "Your answer does not have the form that is wanted. Answer with one JSON object and nothing else. "


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """There are calls to carry out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """The run's output, and the text that stands for it in the conversation."""

    output: JsonValue
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """The model is told this and may answer once more."""

    told: str


Verdict: TypeAlias = Calls | Final | Again | Failed


def verdict_on(
    response: LLMResponse,
    entries: Sequence[Message],
    limits: WorkLimits,
    schema: Mapping[str, JsonValue] | None = None,
) -> Verdict:
    """`entries` are those before this answer. A `Failed` carries the answer's usage."""
    refused = _unusable(response, limits) or too_many_calls(entries, response, limits)
    if refused is not None:
        return refused
    if response.tool_calls:
        return Calls()
    cut = response.finish_reason == "length"
    if cut and not _told(entries, CUT_OFF):
        return Again(told=CUT_OFF)
    content = storable(response.content)
    if schema is None:
        return Final(output=content + CUT_NOTE, content=content) if cut else Final(output=content, content=content)
    return _structured(response, content, entries, schema)


def _unusable(response: LLMResponse, limits: WorkLimits) -> Failed | None:
    usage = Usage.of(response)
    arguments = "".join(json.dumps(dict(call.arguments)) + (call.malformed or "") for call in response.tool_calls)
    size = size_bytes(response.content) + len(arguments)
    if size > limits.max_output_bytes:
        return Failed(
            code="output_too_large",
            message=f"the model answered with {size} bytes; the limit is {limits.max_output_bytes}: ask it for less",
            retryable=False,
            usage=usage,
        )
    if response.finish_reason == "content_filter":
        return Failed(
            code="content_filtered",
            message="the provider's content filter held the answer back",
            retryable=False,
            usage=usage,
        )
    if not response.tool_calls and not response.content.strip():
        return Failed(code="empty_answer", message="the model answered with nothing", retryable=True, usage=usage)
    return None


def _structured(
    response: LLMResponse, content: str, entries: Sequence[Message], schema: Mapping[str, JsonValue]
) -> Final | Again | Failed:
    found = json_object(content)
    problems = ["the answer is not one JSON object"] if found is None else value_problems(schema, found)
    if found is not None and not problems:
        return Final(output=found, content=content)
    said = "; ".join(problems)
    if sum(_is_correction(entry) for entry in entries) >= MAX_CORRECTIONS:
        return Failed(
            code="output_invalid",
            message=f"the model's answer does not fit output_schema after {MAX_CORRECTIONS} corrections: {said}",
            retryable=False,
            usage=Usage.of(response),
        )
    return Again(told=f"{_CORRECTION}What is wrong with it: {said}.")


def json_object(text: str) -> dict[str, JsonValue] | None:
    """The JSON object in a model's answer, which may wrap it in a fence or a sentence; None without one."""
    begin, end = text.find("{"), text.rfind("}")
    if not 0 <= begin < end:
        return None
    try:
        found = json.loads(text[begin : end + 1])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _told(entries: Sequence[Message], text: str) -> bool:
    return any(entry.role == "user" and entry.content == text for entry in entries)


def _is_correction(entry: Message) -> bool:
    return entry.role == "user" and entry.content.startswith(_CORRECTION)
