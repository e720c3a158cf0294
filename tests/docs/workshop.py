"""A reader of a document: a folder like a fresh clone, a shell, and a Callboard that the reader starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import httpx2

from callboard.settings import Settings
from tests.support.http_client import no_certificates
from tests.support.processes import ROOT
from tests.support.servers.ports import free_port
from tests.support.waiting import wait_until_sync

TRIAL_SETTINGS = "SLACK_SIGNING_SECRET=any-text-for-a-trial\nSLACK_BOT_TOKEN=xoxb-trial\n"
BLOCK_SECONDS = 150.0


class Workshop:
    """Runs blocks one after the other. Ports are free ones; everything else is as the reader has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        copytree(ROOT / "config", folder / "config")
        (folder / "scripts").mkdir()
        demo = folder / "scripts" / "demo"
        demo.write_text("#!/bin/sh\nexec callboard demo\n")  # the environment is made already
        demo.chmod(0o755)
        port, slack = free_port(), free_port()
        self._url = f"http://127.0.0.1:{port}"
        settings = {field.alias for field in Settings.model_fields.values()}
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in settings},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
            "TMPDIR": str(folder),
            "CALLBOARD_PORT": str(port),
            "CALLBOARD_API_URL": self._url,
            "SLACK_API_URL": f"http://127.0.0.1:{slack}/api/",
        }
        self._up: subprocess.Popen[bytes] | None = None

    def shell(self, text: str) -> str:
        """What a block prints, errors included; an AssertionError when it fails."""
        if text.strip() == "callboard up":
            self.up()
            return ""
        return self._run(["bash", "-euo", "pipefail", "-c", text], text)

    def python(self, text: str) -> str:
        """The same for Python."""
        return self._run([sys.executable, "-c", text], text)

    def save(self, path: str, text: str) -> None:
        """What the reader is asked to save."""
        before = self._listing()
        (self.folder / path).parent.mkdir(exist_ok=True)
        (self.folder / path).write_text(text)
        self._settle(before)

    def up(self) -> None:
        """`callboard up` in another terminal."""
        with (self.folder / "up.log").open("ab") as log:
            self._up = subprocess.Popen(
                [sys.executable, "-m", "callboard", "up"],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        process = self._up

        def answers() -> bool:
            assert process.poll() is None, f"callboard up ended:\n{(self.folder / 'up.log').read_text()[-2000:]}"
            return self._get("/health") is not None

        wait_until_sync(answers, "callboard up answers", within=60.0)

    def close(self) -> None:
        """Ctrl-C in that other terminal."""
        if self._up is not None:
            self._up.send_signal(signal.SIGINT)
            try:
                self._up.wait(20.0)
            finally:
                self._up.kill()
                self._up.wait()

    def _run(self, command: list[str], text: str) -> str:
        before, files = self._listing(), self._files()
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BLOCK_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"ended with {done.returncode}:\n{text}\n{done.stdout}"
        if self._files() != files:
            self._settle(before)
        return done.stdout

    def _files(self) -> dict[str, bytes]:
        """The agent files as they are."""
        return {path.name: path.read_bytes() for path in (self.folder / "config" / "agents").glob("*.yaml")}

    def _listing(self) -> tuple[bytes | None, ...]:
        return self._get("/api/v1/agents"), self._get("/api/v1/tools")

    def _settle(self, before: tuple[bytes | None, ...]) -> None:
        """A person takes longer to the next command than Callboard takes to see a change of a file."""
        if None not in before:
            wait_until_sync(lambda: self._listing() != before, "the change of a file is taken in")

    def _get(self, path: str) -> bytes | None:
        if self._up is None:
            return None
        with contextlib.suppress(httpx2.TransportError):
            return httpx2.get(self._url + path, timeout=5.0, trust_env=False, verify=no_certificates()).content
        return None


@contextlib.contextmanager
def workshop(folder: Path) -> Iterator[Workshop]:
    """A reader without anything running."""
    opened = Workshop(folder)
    try:
        yield opened
    finally:
        opened.close()
