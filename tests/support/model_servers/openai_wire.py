"""OpenAI's chat completions, as Ollama and others speak them too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.support.model_servers.wire import Asked, Says, halves


class OpenAIWire:
    path = "/v1/chat/completions"
    key_header = "Authorization"
    stream_type = "text/event-stream"

    def asked(self, path: str, body: Mapping[str, Any]) -> Asked:
        text, result = "", None
        for message in body["messages"]:
            if message["role"] == "user":
                text, result = message["content"], None
            elif message["role"] == "tool":
                result = message["content"]
        return Asked(model=body["model"], text=text, result=result, stream=bool(body.get("stream")), body=body)

    def whole(self, asked: Asked, says: Says) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": says.text or None}
        if says.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in says.calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": says.finish}
        return _json(self._frame(asked, "chat.completion", [choice]) | {"usage": _usage(says)})

    def pieces(self, asked: Asked, says: Says) -> list[bytes]:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": piece} for piece in halves(says.text)]
        for index, call in enumerate(says.calls):
            function = {"name": call.name, "arguments": ""}
            deltas.append({"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]})
            deltas += [
                {"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in halves(call.arguments)
            ]
        events = [self._event(asked, [{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
        if says.finish is not None:
            events.append(self._event(asked, [{"index": 0, "delta": {}, "finish_reason": says.finish}]))
        events.append(self._event(asked, [], usage=_usage(says)))
        return [*events, b"data: [DONE]\n\n"]

    def error(self, status: int, message: str) -> tuple[bytes, Mapping[str, str]]:
        return _json({"error": {"message": message, "type": "some_error", "param": None, "code": None}}), {}

    def _event(self, asked: Asked, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return b"data: " + _json(self._frame(asked, "chat.completion.chunk", choices) | more) + b"\n\n"

    def _frame(self, asked: Asked, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": "c-1", "object": kind, "created": 1_700_000_000, "model": f"{asked.model}-v1", "choices": choices}


def _usage(says: Says) -> dict[str, Any]:
    return {
        "prompt_tokens": says.input_tokens,
        "completion_tokens": says.output_tokens,
        "total_tokens": says.input_tokens + says.output_tokens,
        "prompt_tokens_details": {"cached_tokens": says.cached_tokens},
    }


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
