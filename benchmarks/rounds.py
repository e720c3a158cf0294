"""Sides measured in turn, ours, peer, ours, peer, …, so that a busy moment of the machine hits them alike."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Figures = Mapping[str, float]
"""What one round of a side found, by name."""

ROUND_SECONDS = 240.0
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A program that measures one round: it reads its arguments as JSON and prints its figures as one line of JSON.

    `arguments` is called before each round, `module` run by `python`.
    """

    name: str
    module: str
    arguments: Callable[[], Mapping[str, object]]
    python: Path = field(default=Path(sys.executable))


def alternate(sides: Sequence[Side], rounds: int) -> dict[str, Figures]:
    """The median of each figure of each side, by the side's name."""
    found: dict[str, list[Figures]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides:
            figures = one_round(side)
            shown = " ".join(f"{name}={value:.6g}" for name, value in figures.items())
            print(f"  round {number + 1} {side.name}: {shown}", file=sys.stderr, flush=True)
            found[side.name].append(figures)
    return {name: _medians(figures) for name, figures in found.items()}


def one_round(side: Side) -> Figures:
    """Runs the side in a process group of its own, none of which outlives the round."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [str(side.python), "-W", "ignore", "-m", side.module, json.dumps(side.arguments())]
    process = subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        out, err = process.communicate(timeout=ROUND_SECONDS)
    except subprocess.TimeoutExpired as exc:
        raise RuntimeError(f"{side.name} did not end within {ROUND_SECONDS:g} s") from exc
    finally:
        _end_group(process)
    if process.returncode:
        raise RuntimeError(f"{side.name} failed: {err.decode(errors='replace')[-4000:]}")
    figures: Figures = json.loads(out.splitlines()[-1])
    return figures


def report(**figures: float) -> None:
    """A side's last word."""
    print(json.dumps(figures), flush=True)


def arguments() -> dict[str, Any]:
    """What the harness gave this side."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    return given


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _medians(figures: Sequence[Figures]) -> Figures:
    return {name: statistics.median(one[name] for one in figures) for name in figures[0]}
