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
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from callboard.agents.tools.child_main import LENGTH_BYTES
from callboard.agents.tools.tool import ToolContext, ToolError

MAX_ANSWER_BYTES = 4 * 1024 * 1024
_STDERR_BYTES = 2000
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "TMPDIR")
"""A child gets no other variable of ours: keys and tokens stand there."""


class ChildRunner:
    """Runs functions in children, a few at a time; further calls wait for a place."""

    def __init__(self, *, max_children: int = 8, search_path: tuple[str, ...] = ()) -> None:
        self._places = asyncio.Semaphore(max_children)
        self._search_path = search_path

    async def run(self, target: str, arguments: Mapping[str, JsonValue], *, cpu_seconds: int) -> str:
        """Calls `module:function` with the arguments; what is no text comes back as JSON.

        Raises ToolError, with `outcome_unknown`, when the function raised or the child died. Cancelling kills it.
        """
        order = {
            "target": target,
            "arguments": dict(arguments),
            "search_path": list(self._search_path),
            "cpu_seconds": cpu_seconds,
        }
        async with self._places:
            answer = await _in_child(json.dumps(order).encode(), target)
        if "error" in answer:
            raise ToolError(f"{target} failed: {answer['error']}", outcome_unknown=True)
        return str(answer["result"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildTool:
    """A tool that is a synchronous function of a project; `target` is `module:function`, called with the arguments."""

    runner: ChildRunner
    target: str
    name: str
    description: str
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    idempotent: bool = False
    timeout_seconds: float = 60.0

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        del context
        return await self.runner.run(self.target, arguments, cpu_seconds=int(self.timeout_seconds) + 1)


async def _in_child(order: bytes, target: str) -> Mapping[str, JsonValue]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "callboard.agents.tools.child_main",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        start_new_session=True,
    )
    assert child.stdin is not None  # noqa: S101
    assert child.stdout is not None  # noqa: S101
    assert child.stderr is not None  # noqa: S101
    complaints = asyncio.create_task(_tail(child.stderr))
    try:
        with contextlib.suppress(ConnectionError):
            child.stdin.write(len(order).to_bytes(LENGTH_BYTES, "big") + order)
            await child.stdin.drain()
        return await _answer(child.stdout, target)
    except asyncio.IncompleteReadError:
        code = await child.wait()
        _kill_group(child.pid)
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        raise ToolError(f"{target} {how} without an answer: {await complaints}", outcome_unknown=True) from None
    finally:
        _kill_group(child.pid)
        child.stdin.close()
        # Shielded: a cancelled call must still reap its child, which is dead already.
        await asyncio.shield(asyncio.gather(child.wait(), complaints))


async def _answer(stdout: asyncio.StreamReader, target: str) -> Mapping[str, JsonValue]:
    size = int.from_bytes(await stdout.readexactly(LENGTH_BYTES), "big")
    if size > MAX_ANSWER_BYTES:
        raise ToolError(f"{target} answered with {size} bytes; the limit is {MAX_ANSWER_BYTES}", outcome_unknown=True)
    answer: Mapping[str, JsonValue] = json.loads(await stdout.readexactly(size))
    return answer


async def _tail(stderr: asyncio.StreamReader) -> str:
    """The last of what the child wrote; all of it is read, so that the child is never held up."""
    kept = b""
    while piece := await stderr.read(65536):
        kept = (kept + piece)[-_STDERR_BYTES:]
    return kept.decode("utf-8", "replace").strip()


def _kill_group(pid: int) -> None:
    """The child and what it started. Called at once after the child's end: its number is not given out again so soon."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
