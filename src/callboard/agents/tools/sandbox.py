"""Full Python inside bubblewrap: no network, no files but its own, no other process, and an end.

Source of the command: the tools' manuals and trying it out. The environment is emptied before the sandbox begins (`env
-i`), because the sandbox's first process shows what it was started with to everybody inside. As root the sandbox is
entered as another user (`setpriv`): the kernel does not count root's processes against a limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import cast

from pydantic import JsonValue

from callboard.agents.tools.tool import ToolError

MAX_SANDBOXES = 4
_PROCESSES = 16
_SCRATCH_BYTES = 64 * 1024 * 1024
_STDOUT, _STDERR = 1, 2
_ANSWER_BYTES = 1024 * 1024
_GRACE_SECONDS = 1.0
_PROGRAMS = "/usr/local/bin:/usr/bin:/bin"
_NOBODY = "65534"
_NEEDED = ("bwrap", "prlimit", "python3", "env")
_INSIDE = (
    *("--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
    *("--symlink", "usr/bin", "/bin", "--proc", "/proc", "--dev", "/dev"),
    *("--size", str(_SCRATCH_BYTES), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),  # noqa: S108  # inside
    *("--size", str(_SCRATCH_BYTES), "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp"),  # noqa: S108  # inside
    *("--unshare-all", "--unshare-user", "--disable-userns", "--uid", _NOBODY, "--gid", _NOBODY),
    *("--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"),
    *("--setenv", "PATH", "/usr/bin", "--setenv", "HOME", "/tmp", "--setenv", "LANG", "C.UTF-8"),  # noqa: S108  # inside
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResult:
    """What the code printed, the value of its last expression, and why it ended early, if it did."""

    printed: str
    value: str | None
    error: str | None


def why_no_sandbox() -> str | None:
    """What is missing on this machine, as a sentence; None where a sandbox can be tried."""
    missing = [name for name in _NEEDED if shutil.which(name, path=_PROGRAMS) is None]
    if not missing:
        return None
    return (
        f"{', '.join(missing)} is not installed here: install bubblewrap on this host, or use engine: monty "
        "(a container has no sandbox of its own)"
    )


class PythonSandbox:
    """Runs code, a few at a time; each run begins with nothing that an earlier one left."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MAX_SANDBOXES)

    async def run(
        self, code: str, inputs: Mapping[str, JsonValue], *, seconds: float, memory_bytes: int, max_output_bytes: int
    ) -> SandboxResult:
        """Ends within `seconds` and a grace of one second, the sandbox with all its processes gone; ToolError where no
        sandbox can be made."""
        order = json.dumps({"code": code, "inputs": dict(inputs)}).encode()
        talk = _Talk(_Kept(max_output_bytes), _Kept(_ANSWER_BYTES))
        late = False
        async with self._places:
            transport, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: talk, *_command(seconds, memory_bytes), env={}, cwd="/", start_new_session=True
            )
            try:
                # uvloop's pipe transports are none of asyncio's classes, though they behave like them.
                stdin = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
                stdin.write(order)
                stdin.close()
                async with asyncio.timeout(seconds + _GRACE_SECONDS):
                    await talk.said
                if not talk.printed.full:
                    await asyncio.wait([talk.exited], timeout=_GRACE_SECONDS)  # its own code, not the one of our signal
            except TimeoutError:
                late = True
            finally:
                _kill(transport)
                # Shielded: a cancelled call must still reap its child, which is dead already.
                await asyncio.shield(talk.exited)
                transport.close()
        return _result(talk, transport.get_returncode(), f"it took longer than {seconds:g} s" if late else None)


class _Kept:
    """The beginning of what a stream says; full when there was more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._body = bytearray()

    @property
    def full(self) -> bool:
        return len(self._body) > self._limit

    @property
    def text(self) -> str:
        return bytes(self._body[: self._limit]).decode("utf-8", "replace")

    def add(self, data: bytes) -> None:
        if not self.full:
            self._body += data[: self._limit + 1]


class _Talk(asyncio.SubprocessProtocol):
    """What the sandbox says. `said` is done when both streams have ended, or one of them says too much."""

    def __init__(self, printed: _Kept, answer: _Kept) -> None:
        loop = asyncio.get_running_loop()
        self.printed = printed
        self.answer = answer
        self.said: asyncio.Future[None] = loop.create_future()
        self.exited: asyncio.Future[None] = loop.create_future()
        self._open = {_STDOUT, _STDERR}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        kept = self.printed if fd == _STDOUT else self.answer
        kept.add(data)
        if kept.full:
            self._done(self.said)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if not self._open:
            self._done(self.said)

    def process_exited(self) -> None:
        self._done(self.exited)

    def _done(self, future: asyncio.Future[None]) -> None:
        if not future.done():
            future.set_result(None)


def _result(talk: _Talk, code: int | None, ended: str | None) -> SandboxResult:
    printed, answer = talk.printed, talk.answer
    if printed.full:
        ended = "it printed more than it may"
    if ended is None:
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            told = json.loads(answer.text)
            return SandboxResult(printed=printed.text, value=told.get("value"), error=told.get("error"))
        if answer.text.startswith(("bwrap:", "setpriv:", "prlimit:", "env:")):
            raise ToolError(f"no sandbox can be made here: {answer.text.strip()[:300]}")
        ended = f"it ended by itself with code {code}: {answer.text.strip()[-300:]}".removesuffix(": ")
    return SandboxResult(printed=printed.text, value=None, error=f"the code was stopped: {ended}")


def _command(seconds: float, memory_bytes: int) -> list[str]:
    whole = int(seconds) + 3
    as_nobody = ["setpriv", "--reuid", _NOBODY, "--regid", _NOBODY, "--clear-groups"] if os.geteuid() == 0 else []
    limits = [f"--as={memory_bytes}", f"--cpu={whole}", f"--nproc={_PROCESSES}", f"--fsize={_SCRATCH_BYTES}"]
    python = shutil.which("python3", path=_PROGRAMS) or "python3"
    return [
        *(shutil.which("env", path=_PROGRAMS) or "env", "-i", f"PATH={_PROGRAMS}", *as_nobody, "bwrap", *_INSIDE),
        *("prlimit", *limits, "--core=0", "--nofile=64", python, "-I", "-X", "utf8", "-c", _inside()),
    ]


@cache
def _inside() -> str:
    return files(__package__).joinpath("run_python_inside.py").read_text(encoding="utf-8")


def _kill(transport: asyncio.SubprocessTransport) -> None:
    """The sandbox's outer process, which takes everything inside with it."""
    if transport.get_returncode() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(transport.get_pid(), signal.SIGKILL)
