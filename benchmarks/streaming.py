"""How long the first piece of a model's answer is on its way to whoever watches the run over the API."""

from __future__ import annotations

from pathlib import Path

import uvloop

from benchmarks.child import callboard_up
from benchmarks.event_stream import Watcher
from benchmarks.model_server import model_server
from benchmarks.sides.model_runs import AGENT, write_agent
from benchmarks.table import Row, quantile

AT_ONCE = 10
BOUND_MS = 30


def measure(folder: Path, *, alone: int = 60, crowded: int = 200) -> list[Row]:
    """The embedded form, the model's server, and this client are three processes."""
    write_agent(folder / "agents")
    with model_server() as url:
        environment = {"OPENAI_API_KEY": "sk-benchmark", "OPENAI_BASE_URL": url}
        with callboard_up(folder, environment) as child:
            watcher = Watcher(port=child.port, agent=AGENT)
            uvloop.run(watcher.seconds_behind(3, 1))
            one = uvloop.run(watcher.seconds_behind(alone, 1))
            ten = uvloop.run(watcher.seconds_behind(crowded, AT_ONCE))
    return [*_rows("first piece of a streamed answer", one), *_rows(f"… {AT_ONCE} streams at once", ten)]


def _rows(subject: str, took: list[float]) -> list[Row]:
    return [
        Row(subject=f"{subject}: median", measured=quantile(took, 0.5) * 1000, unit="ms", bound=BOUND_MS),
        Row(subject="… 95th percentile", measured=quantile(took, 0.95) * 1000, unit="ms", bound=BOUND_MS),
    ]
