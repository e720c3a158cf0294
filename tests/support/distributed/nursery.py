"""A process that has loaded everything already and forks roles: a cluster costs a tenth of the time, many can be had.

What runs in them is what `python -m callboard serve ROLE` runs; only the loading of the libraries is shared.
As a module it is that process: it takes one order a line on its input and answers with the process id.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.distributed.spawning import Order
from tests.support.processes import ROOT

PRELOADED = (
    "callboard.bootstrap.celery_roles",
    "callboard.bootstrap.distributed.agent_orchestrator",
    "callboard.bootstrap.distributed.agent_pools",
    "callboard.bootstrap.distributed.api",
    "callboard.bootstrap.distributed.config_service",
    "callboard.bootstrap.distributed.event_bus",
    "callboard.bootstrap.distributed.slack_gateway",
    "callboard.bootstrap.distributed.state_manager",
    "callboard.cli.main",
    "callboard.cli.serve",
)
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Forked:
    """A process of the nursery's; the nursery leaves its exit code in a file."""

    pid: int
    code: Path

    def poll(self) -> int | None:
        with contextlib.suppress(FileNotFoundError):
            return int(self.code.read_text(encoding="ascii"))
        return None

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (timeout if timeout is not None else 3600.0)
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            time.sleep(0.005)
        return code


class Nursery:
    """The handle of the loaded process; its `spawn` can stand in the place of the real one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def spawn(self, order: Order) -> Forked:
        code = order.out.with_suffix(".code")
        for path in (order.out, order.err):
            path.touch()
        line = {
            "role": order.role,
            "environment": dict(order.environment),
            "folder": str(order.folder),
            "out": str(order.out),
            "err": str(order.err),
            "code": str(code),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the nursery has ended with {self._process.wait(10)}"
        return Forked(int(answer), code)


@contextlib.contextmanager
def nursery() -> Iterator[Nursery]:
    """Runs while the context is entered; everything that it has started ends with it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.distributed.nursery"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTHONUNBUFFERED": "1"},
        cwd=ROOT,
    )
    with process:
        try:
            yield Nursery(process)
        finally:
            process.kill()


def main() -> None:
    """Loads everything, then forks once a line until its input ends."""
    for name in PRELOADED:
        importlib.import_module(name)
    codes: dict[int, Path] = {}
    # A handler of Python's that reaps would now and then wait for the next line: the signal may come between the
    # interpreter's last look and the call that reads. What is written to a pipe is not missed.
    woken, wakes = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    while True:
        ready, _, _ = select.select([sys.stdin, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _reap(codes)
        if sys.stdin in ready:
            line = sys.stdin.readline()  # one at a time: nobody orders before the answer
            if not line:
                return
            order = json.loads(line)
            pid = os.fork()
            if pid == 0:
                _become(order)
            codes[pid] = Path(order["code"])
            print(pid, flush=True)


def _reap(codes: dict[int, Path]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            _leave(codes.pop(found[0]), os.waitstatus_to_exitcode(found[1]))


def _become(order: dict[str, Any]) -> None:
    """This process turns into the role, as if it had been started with that environment."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    for number, path in ((1, order["out"]), (2, order["err"])):
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(target, number)
        os.close(target)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["callboard", "serve", order["role"]]
    code = 1
    try:
        importlib.import_module("callboard.cli.main").main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(bool(error.code))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _leave(path: Path, code: int) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(str(code), encoding="ascii")
    draft.rename(path)


if __name__ == "__main__":
    main()
