"""A model server of the benchmark's own, in a process of its own: OpenAI's chat completions, at once and for nothing.

What it does stands in the last user message, whatever the model is called:

    answer      says something at once
    calls 10    wants ten calls of the tool `note` in one answer, then says something
    turns 10    wants one call of `note` in each of ten answers, then says something
    wait 2      says something after two seconds
    clock       says, in pieces, at which monotonic time of this machine the first of them was written, after a moment
                in which whoever wants to see that can get ready
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import orjson
import uvloop

from benchmarks.rounds import ROOT

TOOL = "note"
ANSWER = "The backups ran at two; nothing failed, and the oldest one that is kept is from March."
READY_SECONDS = 0.3
PIECE_SECONDS = 0.02
_PIECES = 10


@contextlib.contextmanager
def model_server() -> Iterator[str]:
    """The address that clients of OpenAI's API are given."""
    command = [sys.executable, "-m", "benchmarks.model_server"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.communicate()


class _Connection(asyncio.Protocol):
    """One request after the other, each with its length in its head."""

    def __init__(self) -> None:
        self._buffer = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            lines = head.lower().split(b"\r\n")
            length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            self._answer(orjson.loads(rest[:length]))

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self._tasks:
            task.cancel()

    def _answer(self, asked: Mapping[str, Any]) -> None:
        verb, _, number = _told(asked["messages"]).partition(" ")
        if verb == "wait" or asked.get("stream"):
            task = asyncio.ensure_future(self._later(asked, verb, number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        self._transport.write(_whole(asked, _message(asked["messages"], verb, number)))

    async def _later(self, asked: Mapping[str, Any], verb: str, number: str) -> None:
        if verb == "wait":
            await asyncio.sleep(float(number))
        message = _message(asked["messages"], verb, number)
        if not asked.get("stream"):
            self._transport.write(_whole(asked, message))
            return
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for delta in _deltas(message, verb):
            if isinstance(delta, float):
                await asyncio.sleep(delta)
            else:
                self._transport.write(_event(asked, [{"index": 0, "delta": delta, "finish_reason": None}]))
        reason = "tool_calls" if "tool_calls" in message else "stop"
        self._transport.write(_event(asked, [{"index": 0, "delta": {}, "finish_reason": reason}]))
        self._transport.write(_event(asked, [], usage=_USAGE) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


def _told(messages: Sequence[Mapping[str, Any]]) -> str:
    said = next(message["content"] for message in reversed(messages) if message["role"] == "user")
    return said if isinstance(said, str) else str(said[0]["text"])


def _message(messages: Sequence[Mapping[str, Any]], verb: str, number: str) -> dict[str, Any]:
    """The next answer of the conversation."""
    results = sum(message["role"] == "tool" for message in messages)
    wanted = 0
    if verb == "calls" and not results:
        wanted = int(number)
    elif verb == "turns" and results < int(number):
        wanted = 1
    if not wanted:
        return {"role": "assistant", "content": ANSWER}
    calls = [
        {
            "id": f"call_{results + index}",
            "type": "function",
            "function": {"name": TOOL, "arguments": f'{{"text": "point {results + index}"}}'},
        }
        for index in range(wanted)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _deltas(message: Mapping[str, Any], verb: str) -> Iterator[dict[str, Any] | float]:
    """What is streamed, made when it is; a number is a pause in seconds."""
    if "tool_calls" in message:
        yield {"role": "assistant", "content": None}
        for index, call in enumerate(message["tool_calls"]):
            yield {"tool_calls": [{"index": index, **call}]}
        return
    yield {"role": "assistant", "content": ""}
    if verb == "clock":
        yield READY_SECONDS
        yield {"content": f"{time.monotonic():.6f} "}
        for _ in range(_PIECES):
            yield PIECE_SECONDS
            yield {"content": "tick "}
        return
    for word in message["content"].split(" "):
        yield {"content": f"{word} "}


_USAGE = {"prompt_tokens": 60, "completion_tokens": 20, "total_tokens": 80}


def _frame(asked: Mapping[str, Any], kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "c-1", "object": kind, "created": 1_700_000_000, "model": asked["model"], "choices": choices}


def _whole(asked: Mapping[str, Any], message: dict[str, Any]) -> bytes:
    reason = "tool_calls" if "tool_calls" in message else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    body = orjson.dumps(_frame(asked, "chat.completion", [choice]) | {"usage": _USAGE})
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _event(asked: Mapping[str, Any], choices: list[dict[str, Any]], **more: Any) -> bytes:
    return _chunk(b"data: " + orjson.dumps(_frame(asked, "chat.completion.chunk", choices) | more) + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
