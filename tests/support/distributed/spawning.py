"""Starting a process of a role: as users do it, `python -m callboard serve ROLE`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to start, and where its output goes: to files, so it never waits for a reader."""

    role: str
    environment: Mapping[str, str]
    folder: Path
    out: Path
    err: Path


class Handle(Protocol):
    """A started process that leads a group of its own."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None:
        """Its exit code, negative after a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """`poll` once it has ended."""


Spawn = Callable[[Order], Handle]


def spawn(order: Order) -> subprocess.Popen[bytes]:
    """A Python of its own, which dies with the test process whatever becomes of that."""
    setpriv = shutil.which("setpriv")
    prefix = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    with order.out.open("wb") as out, order.err.open("wb") as err:
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", "callboard", "serve", order.role],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=dict(order.environment),
            cwd=order.folder,
            start_new_session=True,
        )
