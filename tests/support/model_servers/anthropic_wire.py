"""Anthropic's messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.model_servers.wire import Asked, Says, halves

_FINISH = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
    None: None,
}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class AnthropicWire:
    path = "/v1/messages"
    key_header = "X-Api-Key"
    stream_type = "text/event-stream"

    def asked(self, path: str, body: Mapping[str, Any]) -> Asked:
        text, result = "", None
        for message in body["messages"]:
            if message["role"] != "user":
                continue
            for block in _blocks(message["content"]):
                if block["type"] == "text":
                    text, result = block["text"], None
                elif block["type"] == "tool_result":
                    result = "".join(inner["text"] for inner in _blocks(block["content"]))
        return Asked(model=body["model"], text=text, result=result, stream=bool(body.get("stream")), body=body)

    def whole(self, asked: Asked, says: Says) -> bytes:
        content: list[dict[str, Any]] = [{"type": "text", "text": says.text}] if says.text else []
        content += [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}
            for call in says.calls
        ]
        return _json(self._message(asked, says) | {"content": content, "stop_reason": _FINISH[says.finish]})

    def pieces(self, asked: Asked, says: Says) -> list[bytes]:
        return [
            b"event: %s\ndata: %s\n\n" % (event["type"].encode(), _json(event)) for event in _events(self, asked, says)
        ]

    def error(self, status: int, message: str) -> tuple[bytes, Mapping[str, str]]:
        kind = _TYPES.get(status, "api_error")
        return _json({"type": "error", "error": {"type": kind, "message": message}, "request_id": "r-1"}), {}

    def _message(self, asked: Asked, says: Says) -> dict[str, Any]:
        usage = {
            "input_tokens": says.input_tokens - says.cached_tokens,
            "cache_read_input_tokens": says.cached_tokens,
            "output_tokens": says.output_tokens,
        }
        return {
            "id": "m-1",
            "type": "message",
            "role": "assistant",
            "model": f"{asked.model}-v1",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }


def _events(wire: AnthropicWire, asked: Asked, says: Says) -> Iterator[dict[str, Any]]:
    yield {"type": "message_start", "message": wire._message(asked, says)}
    index = 0
    if says.text:
        yield {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}
        for piece in halves(says.text):
            delta = {"type": "text_delta", "text": piece}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
        index += 1
    for call in says.calls:
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        yield {"type": "content_block_start", "index": index, "content_block": block}
        for piece in halves(call.arguments):
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
        index += 1
    if says.finish is not None:
        ended = {"stop_reason": _FINISH[says.finish], "stop_sequence": None}
        yield {"type": "message_delta", "delta": ended, "usage": {"output_tokens": says.output_tokens}}
        yield {"type": "message_stop"}


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
