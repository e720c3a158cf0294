"""Servers that other people wrote (scripts/peers): where their programs are, or why a test cannot have them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

_PEERS = Path(__file__).resolve().parents[2] / ".peers"


def python_peer(program: str) -> Path:
    """A program of a package from the Python index, such as `llmock`; skips the test without it, fails it in CI."""
    return _found(_PEERS / "python", Path("bin") / program, "scripts/peers")


def npm_peer(program: str) -> Path:
    """A program of a package from npm, such as `aimock`; skips the test without it, fails it in CI."""
    if shutil.which("node") is None:
        _missing(program, "apt-get install nodejs npm && scripts/peers")
    return _found(_PEERS / "node_modules", Path(".bin") / program, "scripts/peers")


def _found(installed: Path, program: Path, command: str) -> Path:
    """Only an installation that went through has a stamp."""
    if not ((installed / ".stamp").is_file() and (installed / program).exists()):
        _missing(program.name, command)
    return installed / program


def _missing(program: str, command: str) -> None:
    reason = f"{program} is not installed here: {command}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
