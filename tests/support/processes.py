"""Real child processes for tests of signals, kills and exits."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.waiting import wait_until_sync

ROOT = Path(__file__).resolve().parents[2]


class Child:
    """A running child; its output is read as it comes, so it never blocks on a full pipe."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.lines: list[str] = []
        assert process.stdout is not None
        self._reader = threading.Thread(target=self._read, name="child-output", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything it has printed so far, errors included."""
        return "\n".join(self.lines)

    def wait_for(self, text: str, *, within: float = 30.0) -> str:
        """The first line that holds `text`; an AssertionError when the child ends or the time is over before."""

        def seen() -> str | None:
            line = next((line for line in self.lines if text in line), None)
            if line is None and self._process.poll() is not None:
                self._reader.join()
                line = next((line for line in self.lines if text in line), None)
                assert line is not None, f"ended with {self._process.returncode} before {text!r}:\n{self.output}"
            return line

        found = wait_until_sync(seen, f"the child prints {text!r}", within=within)
        assert found is not None
        return found

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def exit_code(self, *, within: float = 30.0) -> int:
        """Its exit code, negative after a signal; waits for its end and for the rest of its output."""
        code = self._process.wait(within)
        self._reader.join(within)
        return code

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip("\n"))


@contextlib.contextmanager
def child(*arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Iterator[Child]:
    """Run this Python with these arguments in a process of its own; killed at the end if it still runs."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        "PYTHONUNBUFFERED": "1",
        **(env or {}),
    }
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=cwd or ROOT,
    )
    running = Child(process)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        running.exit_code()
