"""Between our messages and those of the model layer; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue
from pydantic_ai.messages import (
    INVALID_JSON_KEY,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    SystemPromptPart,
    TextPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.messages import ToolCallPart as CallPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.tools import ToolDefinition

from callboard.llm.provider import LLMRequest, Message, ToolCall, ToolSpec
from callboard.llm.untrusted_text import shown

NO_TEXT = "(no text)"
"""Providers refuse an empty message of the user or an empty result."""
LONGEST_CALL_ID = 40
"""OpenAI's limit, the smallest of all; none takes other signs than these."""
_NOT_IN_CALL_ID = re.compile(r"[^A-Za-z0-9_-]")
_MADE_UP_ID = "pyd_ai_"
"""So begins the random id that the model layer gives to a call that came without one."""


def to_model_layer(messages: Sequence[Message]) -> list[ModelMessage]:
    """The conversation; calls whose ids a provider would refuse, or that occur twice, get others on the way."""
    told: list[ModelMessage] = []
    parts: list[ModelRequestPart] = []
    ids = _CallIds()
    for message in messages:
        if message.role != "assistant":
            parts.append(_request_part(message, ids))
            continue
        answered = list(_response_parts(message, ids))
        if parts and answered:
            told.append(ModelRequest(parts=parts))
            parts = []
        if answered:
            told.append(ModelResponse(parts=answered))
    if parts:
        told.append(ModelRequest(parts=parts))
    return told


def parameters(tools: Sequence[ToolSpec], request: LLMRequest, *, native_schema: bool) -> ModelRequestParameters:
    """The tools on offer, and the schema of the answer where the model has a mode for it."""
    functions = [
        ToolDefinition(name=tool.name, description=tool.description, parameters_json_schema=dict(tool.parameters))
        for tool in tools
    ]
    if request.output_schema is None or not native_schema:
        return ModelRequestParameters(function_tools=functions)
    answer = OutputObjectDefinition(json_schema=dict(request.output_schema), name="answer")
    return ModelRequestParameters(function_tools=functions, output_mode="native", output_object=answer)


def text_of(response: ModelResponse) -> str:
    """What the model said, without its thoughts."""
    return whole("".join(part.content for part in response.parts if isinstance(part, TextPart)))


def calls_of(response: ModelResponse) -> tuple[ToolCall, ...]:
    """What the model wants to be called, in its order."""
    parts = [part for part in response.parts if isinstance(part, CallPart)]
    return tuple(_call(index, part) for index, part in enumerate(parts))


def whole(text: str) -> str:
    """The text without halves of characters, which cannot be encoded and would stop every later step."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _CallIds:
    """The ids under which calls are sent: unique in the whole conversation, of a form that every provider takes."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._open: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def calls(self, calls: Sequence[ToolCall]) -> Iterator[tuple[str, ToolCall]]:
        for call in calls:
            sent = self._free(_NOT_IN_CALL_ID.sub("_", call.id)[:LONGEST_CALL_ID] or "call")
            self._used.add(sent)
            self._open[call.id] = sent
            self._names[call.id] = call.name
            yield sent, call

    def answered(self, call_id: str | None) -> tuple[str, str]:
        """The id and the name of the tool under which the call was sent last."""
        known = call_id or ""
        return self._open.get(known, known or "call"), self._names.get(known, "tool")

    def _free(self, wanted: str) -> str:
        sent, number = wanted, 1
        while sent in self._used:
            number += 1
            sent = f"{wanted[: LONGEST_CALL_ID - 6]}_{number}"
        return sent


def _request_part(message: Message, ids: _CallIds) -> ModelRequestPart:
    content = whole(shown(message).content)
    if message.role == "system":
        return SystemPromptPart(content=content)
    if message.role == "user":
        return UserPromptPart(content=content if content.strip() else NO_TEXT)
    call_id, name = ids.answered(message.tool_call_id)
    return ToolReturnPart(
        tool_name=name,
        content=content if content.strip() else NO_TEXT,
        tool_call_id=call_id,
        outcome="failed" if message.is_error else "success",
    )


def _response_parts(message: Message, ids: _CallIds) -> Iterator[ModelResponsePart]:
    if message.content.strip():
        yield TextPart(content=whole(message.content))
    for call_id, call in ids.calls(message.tool_calls):
        # Servers that read the arguments again refuse what is no JSON object: the model sees its own text in one.
        arguments = dict(call.arguments) if call.malformed is None else {INVALID_JSON_KEY: whole(call.malformed)}
        yield CallPart(tool_name=call.name, args=arguments, tool_call_id=call_id)


def _call(index: int, part: CallPart) -> ToolCall:
    call_id = part.tool_call_id
    if not call_id or call_id.startswith(_MADE_UP_ID):
        call_id = f"call_{index}"
    arguments, malformed = _arguments(part.args)
    return ToolCall(id=whole(call_id), name=whole(part.tool_name), arguments=arguments, malformed=malformed)


def _arguments(given: str | Mapping[str, JsonValue] | None) -> tuple[Mapping[str, JsonValue], str | None]:
    """The arguments, and the model's own text where that was no JSON object."""
    if not given:
        return {}, None
    text = given if isinstance(given, str) else json.dumps(given)
    try:
        read = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return {}, whole(text)
    if not isinstance(read, dict):
        return {}, whole(text)
    return {whole(key): _whole_tree(value) for key, value in read.items()}, None


def _refuse(constant: str) -> JsonValue:
    raise ValueError(constant)


def _whole_tree(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [_whole_tree(item) for item in value]
    if isinstance(value, dict):
        return {whole(key): _whole_tree(item) for key, item in value.items()}
    return value
