"""Two thousand agent files: loading them all, and how soon a change of one is in force."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import uvloop
import yaml

from benchmarks.house import running, write_agents
from benchmarks.table import Row, quantile
from callboard.config.agent_file import load_agent


def measure(folder: Path, *, files: int = 2000, changes: int = 5) -> list[Row]:
    names = write_agents(folder / "agents", files)
    peer = _parsed(folder / "agents", names)
    validated = _validated(folder / "agents", names)
    whole, live = uvloop.run(_running(folder, files, changes))
    return [
        Row(
            subject=f"{files:,} agent files loaded and validated",
            measured=validated,
            unit="s",
            bound=5,
            peer=peer,
            peer_name="C YAML parser alone",
        ),
        Row(subject="… and stored, the system running", measured=whole, unit="s"),
        Row(
            subject=f"one changed file among {files:,} in force: slowest", measured=quantile(live, 1), unit="s", bound=1
        ),
    ]


def _parsed(folder: Path, names: list[str]) -> float:
    began = time.perf_counter()
    for name in names:
        yaml.load((folder / f"{name}.yaml").read_bytes(), Loader=yaml.CSafeLoader)
    return time.perf_counter() - began


def _validated(folder: Path, names: list[str]) -> float:
    began = time.perf_counter()
    for name in names:
        path = folder / f"{name}.yaml"
        file = load_agent(path.read_bytes(), f"agents/{path.name}")
        assert file.definition is not None, file.problems
    return time.perf_counter() - began


async def _running(folder: Path, files: int, changes: int) -> tuple[float, list[float]]:
    """Seconds until the system runs with all files in force, and of each change of one file."""
    began = time.perf_counter()
    async with running(folder, files) as system:
        whole = time.perf_counter() - began
        catalog = system.core.catalog
        assert len(catalog.current()) == files
        changed = asyncio.Event()
        catalog.subscribe(lambda _: changed.set())
        took = []
        for number in range(changes):
            name = f"echo-{number * files // changes}"
            path = folder / "agents" / f"{name}.yaml"
            text = path.read_text()
            changed.clear()
            began = time.perf_counter()
            path.write_text(f"{text}description: changed {number}\n")
            await asyncio.wait_for(changed.wait(), 30)
            took.append(time.perf_counter() - began)
    return whole, took
