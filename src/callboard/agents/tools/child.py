"""Synchronous and project code in child processes that can be killed (DESIGN.md, R16).

A thread cannot be stopped, and code that segfaults or holds the interpreter takes everything with it. A child is one
call: its own process group, killed with all it started when the call is cancelled, runs over its time, or ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import cast

from pydantic import JsonValue

from callboard.agents.tools.child_main import LENGTH_BYTES
from callboard.agents.tools.tool import ToolError

MAX_ANSWER_BYTES = 4 * 1024 * 1024
_STDERR_BYTES = 2000
_PRINTED_BYTES = 16 * 1024
MAX_PRINTED_BYTES = 8 * 1024 * 1024
"""More than this is no output for people any more, and reading it would keep us from everything else."""
_LAST_WORDS_SECONDS = 0.5
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "TMPDIR")
"""A child gets no other variable of ours: keys and tokens stand there."""


class ChildRunner:
    """Runs functions in children, a few at a time; further calls wait for a place."""

    def __init__(self, *, max_children: int = 8, search_path: tuple[str, ...] = ()) -> None:
        self._places = asyncio.Semaphore(max_children)
        self._search_path = search_path

    async def run(
        self,
        target: str,
        arguments: Mapping[str, JsonValue],
        *,
        cpu_seconds: int,
        memory_bytes: int | None = None,
        printed: Callable[[str], None] | None = None,
    ) -> str:
        """Calls `module:function` with the arguments; what is no text comes back as JSON.

        `memory_bytes` bounds the child's address space. `printed` is told what the function printed, if anything (the
        last 16 KiB of it), before this returns or raises. Raises ToolError, with `outcome_unknown`, when the function
        raised, printed over 8 MiB, or the child died. Cancelling kills it.
        """
        order = {
            "target": target,
            "arguments": dict(arguments),
            "search_path": list(self._search_path),
            "cpu_seconds": cpu_seconds,
            "memory_bytes": memory_bytes,
        }
        async with self._places:
            answer = await _in_child(json.dumps(order).encode(), target, printed)
        if "error" in answer:
            raise ToolError(f"{target} failed: {answer['error']}", outcome_unknown=True)
        return str(answer["result"])


class _Conversation(asyncio.SubprocessProtocol):
    """What the child says: a frame with its answer on stdout, complaints on stderr.

    Read as it comes and never held back, so that neither an endless answer nor a pipe that one of the child's own
    processes keeps open can hold the caller up.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[bytes | None] = loop.create_future()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.announced_bytes = 0
        self.printed_bytes = 0
        self._stdout = bytearray()
        self._stderr = b""

    @property
    def complaints(self) -> str:
        return self._stderr[-_STDERR_BYTES:].decode("utf-8", "replace").strip()

    @property
    def printed(self) -> str:
        return self._stderr.decode("utf-8", "replace").strip()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == _STDERR:
            self._stderr = (self._stderr + data)[-_PRINTED_BYTES:]
            self.printed_bytes += len(data)
            if self.printed_bytes > MAX_PRINTED_BYTES and not self.answered.done():
                self.answered.set_result(None)
        elif not self.answered.done():
            self._stdout += data
            self._look_for_answer()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == _STDOUT and not self.answered.done():
            self.answered.set_result(None)

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def _look_for_answer(self) -> None:
        if len(self._stdout) < LENGTH_BYTES:
            return
        self.announced_bytes = int.from_bytes(self._stdout[:LENGTH_BYTES], "big")
        end = LENGTH_BYTES + self.announced_bytes
        if self.announced_bytes > MAX_ANSWER_BYTES:
            self.answered.set_result(None)
        elif len(self._stdout) >= end:
            self.answered.set_result(bytes(self._stdout[LENGTH_BYTES:end]))


async def _in_child(order: bytes, target: str, printed: Callable[[str], None] | None) -> Mapping[str, JsonValue]:
    transport, child = await asyncio.get_running_loop().subprocess_exec(
        _Conversation,
        sys.executable,
        "-P",
        "-m",
        "callboard.agents.tools.child_main",
        env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        start_new_session=True,
    )
    try:
        # uvloop's pipe transports are none of asyncio's classes, though they behave like them.
        stdin = cast("asyncio.WriteTransport", transport.get_pipe_transport(_STDIN))
        stdin.write(len(order).to_bytes(LENGTH_BYTES, "big") + order)
        body = await child.answered
    finally:
        _kill_group(transport.get_pid())
        # Shielded: a cancelled call must still reap its child, which is dead already.
        await asyncio.shield(child.exited)
        code = transport.get_returncode()
        if printed is not None:
            await _hear_out(child, printed)
        transport.close()
    if body is None:
        raise ToolError(_no_answer(target, child, code), outcome_unknown=True)
    return _read_answer(body, target)


async def _hear_out(child: _Conversation, printed: Callable[[str], None]) -> None:
    """What is still in the pipes; a process that left the group may keep them open, and is not waited for."""
    await asyncio.wait([child.closed], timeout=_LAST_WORDS_SECONDS)
    if child.printed:
        printed(child.printed)


def _read_answer(body: bytes, target: str) -> Mapping[str, JsonValue]:
    """What the function does with its process is its own business; so is what it writes in our place."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not {"result", "error"} & answer.keys():
        raise ToolError(f"{target} gave an answer that cannot be read", outcome_unknown=True)
    return answer


def _no_answer(target: str, child: _Conversation, code: int | None) -> str:
    if child.printed_bytes > MAX_PRINTED_BYTES:
        return f"{target} was ended: it printed more than {MAX_PRINTED_BYTES} bytes"
    if child.announced_bytes > MAX_ANSWER_BYTES:
        return f"{target} answered with {child.announced_bytes} bytes; the limit is {MAX_ANSWER_BYTES}"
    how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
    return f"{target} {how} without an answer: {child.complaints}"


def _kill_group(pid: int) -> None:
    """The child and what it started; called at once after its end, before its number is given out again."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
