"""`callboard demo`: the whole system at work."""

from __future__ import annotations

import click

from callboard import demo as product_demo


@click.command()
def demo() -> int:
    """See the whole system work in one process, without any account, key, server or network."""
    return product_demo.run()
