"""`callboard up`: everything in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from callboard.bootstrap.system import up as run_until_stopped
from callboard.settings import load_settings


@click.command()
@click.option("--agents", "agents_folder", type=click.Path(path_type=Path), help="The folder of agent files.")
@click.option("--data", "data_folder", type=click.Path(path_type=Path), help="Where the database is kept.")
@click.option("--host", help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port to listen on.")
def up(agents_folder: Path | None, data_folder: Path | None, host: str | None, port: int | None) -> int:
    """Run everything in one process: Slack, API, schedules, agents. Ctrl-C drains, twice forces."""
    options: dict[str, Any] = {
        "agents_folder": agents_folder,
        "data_folder": data_folder,
        "host": host,
        "port": port,
    }
    settings = load_settings(**{name: value for name, value in options.items() if value is not None})
    return run_until_stopped(settings)
