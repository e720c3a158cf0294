"""The Docker engine of this machine and the compose command it comes with."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

REQUIRED = "CALLBOARD_TEST_COMPOSE"
"""`required` where somebody has brought an engine for these tests: then they fail without it."""


def need_engine() -> None:
    """Skip the test where no engine answers; fail where one has been brought for it."""
    reason = _why_not()
    if reason is None:
        return
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def docker(*arguments: str, within: float = 120.0) -> str:
    """What a docker command prints; an AssertionError with its complaint when it fails."""
    return run(["docker", *arguments], within=within)


@functools.cache
def compose_command() -> tuple[str, ...]:
    """`docker compose` where there is one, else `docker-compose`."""
    if _succeeds(["docker", "compose", "version"]):
        return ("docker", "compose")
    return ("docker-compose",)


def run(command: list[str], *, within: float, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What a command prints on stdout; an AssertionError with all it printed when it fails."""
    environment = {**os.environ, "COMPOSE_HTTP_TIMEOUT": "300", **(env or {})}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=within, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@functools.cache
def _why_not() -> str | None:
    if shutil.which("docker") is None:
        return "needs Docker, which is not on this machine (https://docs.docker.com/engine/install/)"
    if not _succeeds(["docker", "info"]):
        return "needs Docker, and no engine answers this user: start it (`docker info` says why not)"
    if not _succeeds([*compose_command(), "version"]):
        return "needs Compose: `docker compose` or docker-compose 1.29"
    return None


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
