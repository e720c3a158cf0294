"""`callboard demo`: the whole system at work."""

from __future__ import annotations

import click

from callboard.demo import run as run_demo


@click.command()
def demo() -> int:
    """See the whole system work in one process, without any account, key, server or network."""
    return run_demo()
