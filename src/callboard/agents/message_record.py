"""Messages as JSON, the form in which checkpoints and conversations keep them."""

from __future__ import annotations

from typing import Any

from callboard.llm.provider import Message, ToolCall


def to_record(message: Message) -> dict[str, Any]:
    """What is empty is left out."""
    record: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        record["tool_calls"] = [_call_record(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        record["tool_call_id"] = message.tool_call_id
    if message.is_error:
        record["is_error"] = True
    if message.untrusted:
        record["untrusted"] = True
    if message.stands_for is not None:
        record["stands_for"] = message.stands_for
    return record


def of_record(record: dict[str, Any]) -> Message:
    return Message(
        role=record["role"],
        content=record["content"],
        tool_calls=tuple(
            ToolCall(
                id=call["id"], name=call["name"], arguments=call.get("arguments", {}), malformed=call.get("malformed")
            )
            for call in record.get("tool_calls", ())
        ),
        tool_call_id=record.get("tool_call_id"),
        is_error=record.get("is_error", False),
        untrusted=record.get("untrusted", False),
        stands_for=record.get("stands_for"),
    )


def _call_record(call: ToolCall) -> dict[str, Any]:
    record: dict[str, Any] = {"id": call.id, "name": call.name, "arguments": dict(call.arguments)}
    if call.malformed is not None:
        record["malformed"] = call.malformed
    return record
