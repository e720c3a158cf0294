"""AWS Bedrock's Converse and ConverseStream, whose frames botocore's own parser accepts."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from tests.support.model_servers.wire import Asked, Says, halves

_FINISH = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "content_filtered"}
_CODES = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}


class BedrockWire:
    path = "/model/{model}/{operation:converse|converse-stream}"
    key_header = "Authorization"
    stream_type = "application/vnd.amazon.eventstream"

    def asked(self, path: str, body: Mapping[str, Any]) -> Asked:
        text, result = "", None
        for message in body["messages"]:
            if message["role"] != "user":
                continue
            for block in message["content"]:
                if "text" in block:
                    text, result = block["text"], None
                elif "toolResult" in block:
                    result = "".join(inner.get("text", "") for inner in block["toolResult"]["content"])
        _, _, model, operation = path.split("/")
        return Asked(model=unquote(model), text=text, result=result, stream=operation == "converse-stream", body=body)

    def whole(self, asked: Asked, says: Says) -> bytes:
        content: list[dict[str, Any]] = [{"text": says.text}] if says.text else []
        content += [
            {"toolUse": {"toolUseId": call.id, "name": call.name, "input": json.loads(call.arguments)}}
            for call in says.calls
        ]
        answer: dict[str, Any] = {
            "output": {"message": {"role": "assistant", "content": content}},
            "usage": _usage(says),
            "metrics": {"latencyMs": 1},
        }
        if says.finish is not None:
            answer["stopReason"] = _FINISH[says.finish]
        return json.dumps(answer).encode()

    def pieces(self, asked: Asked, says: Says) -> list[bytes]:
        return [frame(kind, payload) for kind, payload in _events(says)]

    def error(self, status: int, message: str) -> tuple[bytes, Mapping[str, str]]:
        code = _CODES.get(status, "InternalServerException")
        return json.dumps({"message": message}).encode(), {"x-amzn-ErrorType": code}


def _events(says: Says) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "messageStart", {"role": "assistant"}
    index = 0
    for piece in halves(says.text):
        yield "contentBlockDelta", {"contentBlockIndex": index, "delta": {"text": piece}}
    if says.text:
        yield "contentBlockStop", {"contentBlockIndex": index}
        index += 1
    for call in says.calls:
        start = {"toolUse": {"toolUseId": call.id, "name": call.name}}
        yield "contentBlockStart", {"contentBlockIndex": index, "start": start}
        for piece in halves(call.arguments):
            yield "contentBlockDelta", {"contentBlockIndex": index, "delta": {"toolUse": {"input": piece}}}
        yield "contentBlockStop", {"contentBlockIndex": index}
        index += 1
    if says.finish is not None:
        yield "messageStop", {"stopReason": _FINISH[says.finish]}
        yield "metadata", {"usage": _usage(says), "metrics": {"latencyMs": 1}}


def frame(kind: str, payload: Mapping[str, Any], *, message_type: str = "event") -> bytes:
    """One message of an event stream: lengths and their checksum, headers, payload, checksum of all."""
    named = ":exception-type" if message_type == "exception" else ":event-type"
    headers = b"".join(
        _header(name, value)
        for name, value in (
            (named, kind),
            (":content-type", "application/json"),
            (":message-type", message_type),
        )
    )
    body = json.dumps(payload).encode()
    lengths = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    begun = lengths + struct.pack("!I", zlib.crc32(lengths)) + headers + body
    return begun + struct.pack("!I", zlib.crc32(begun))


def _header(name: str, value: str) -> bytes:
    """A header of type 7: a string."""
    return struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()


def _usage(says: Says) -> dict[str, int]:
    return {
        "inputTokens": says.input_tokens - says.cached_tokens,
        "cacheReadInputTokens": says.cached_tokens,
        "outputTokens": says.output_tokens,
        "totalTokens": says.input_tokens + says.output_tokens,
    }
