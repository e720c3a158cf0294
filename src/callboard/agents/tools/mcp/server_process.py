"""The process of an MCP server that is a command: lines in and out, and an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from callboard.agents.tools.mcp.session import MAX_MESSAGE_BYTES, FaultKind, McpFault

GRACE_SECONDS = 2.0
_STDERR_BYTES = 2000
_GUARD = 'read -r _; kill -s KILL -- "-$1"'
"""Its input ends when this process is gone, however it ended: then the server's whole group goes too."""


@dataclass(eq=False, slots=True)
class ServerProcess:
    """A started server. One reader, one writer."""

    process: asyncio.subprocess.Process
    guard: asyncio.subprocess.Process
    complaints: bytearray = field(default_factory=bytearray)
    why: str | None = None
    """Set once it is known why nothing more comes from it."""

    async def read_line(self) -> bytes | None:
        """The next line without its end; None when there are no more, `why` says the reason."""
        stdout = self.process.stdout
        assert stdout is not None  # noqa: S101  # started with pipes
        try:
            return (await stdout.readuntil(b"\n"))[:-1]
        except asyncio.LimitOverrunError:
            self.why = f"sent a message of more than {MAX_MESSAGE_BYTES // 2**20} MiB and was stopped"
        except asyncio.IncompleteReadError:
            pass
        except OSError as error:
            self.why = f"cannot be read from: {error.strerror}"
        return None

    async def write_line(self, line: bytes) -> None:
        """Raises OSError when it takes no more."""
        stdin = self.process.stdin
        assert stdin is not None  # noqa: S101  # started with pipes
        stdin.write(line + b"\n")
        await stdin.drain()

    async def listen_to_complaints(self) -> None:
        """Keeps the end of what it writes to stderr; for as long as it lives."""
        stderr = self.process.stderr
        assert stderr is not None  # noqa: S101  # started with pipes
        with contextlib.suppress(OSError):
            while piece := await stderr.read(65536):
                self.complaints += piece
                del self.complaints[:-_STDERR_BYTES]

    async def reason(self) -> str:
        """Why it is gone, with its last words; waits a moment for its exit code."""
        if self.why is not None:
            return self.why
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await self.process.wait()
        code = self.process.returncode
        if code is None:
            how = "closed its output"
        elif code < 0:
            how = f"was ended by signal {-code}"
        else:
            how = f"ended with code {code}"
        said = " ".join(self.complaints.decode("utf-8", "replace").split())[-300:]
        return f"{how}: {said}" if said else how


@contextlib.asynccontextmanager
async def server_process(
    program: str, arguments: Sequence[str], env: Mapping[str, str]
) -> AsyncIterator[ServerProcess]:
    """Starts it in a process group of its own and, at the end, ends that whole group. Raises McpFault."""
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(env),
            cwd="/",
            start_new_session=True,
            limit=MAX_MESSAGE_BYTES,
        )
    except (OSError, ValueError) as error:
        raise McpFault(f"cannot be started: {error}", FaultKind.UNSENT) from None
    try:
        guard = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            _GUARD,
            "mcp-guard",
            str(process.pid),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )
    except BaseException:  # a cancellation too: nobody else knows of this process yet
        _kill_group(process.pid)
        await asyncio.shield(_reaped(process))
        raise
    server = ServerProcess(process, guard)
    listening = asyncio.create_task(server.listen_to_complaints())
    try:
        yield server
    finally:
        await asyncio.shield(_end(server, listening))


async def _end(server: ServerProcess, listening: asyncio.Task[None]) -> None:
    """Its input is closed, which asks it to end; then it is told; then it is killed, with whatever it has started."""
    process = server.process
    if process.returncode is None and server.why is None:
        assert process.stdin is not None  # noqa: S101  # started with pipes
        process.stdin.close()
        await _reaped(process)
        if process.returncode is None:
            _signal_group(process.pid, signal.SIGTERM)
            await _reaped(process)
    _kill_group(process.pid)
    with contextlib.suppress(ProcessLookupError):
        server.guard.kill()
    await _reaped(process)
    await _reaped(server.guard)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    for ended in (process, server.guard):
        # Whatever left its group may keep a pipe of ours open for ever; we do not.
        ended._transport.close()  # type: ignore[attr-defined]  # no public way to close the pipes


async def _reaped(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE_SECONDS):
            await process.wait()


def _kill_group(pid: int) -> None:
    _signal_group(pid, signal.SIGKILL)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
