"""A group of commands about one thing, as `callboard runs`."""

from __future__ import annotations

import click

_WHOLE_SENTENCE = 1000


class Noun(click.Group):
    """Its help tells the first sentence about each command whole, over as many lines as that takes."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        told = [(name, found.get_short_help_str(_WHOLE_SENTENCE)) for name, found in commands if found is not None]
        with formatter.section("Commands"):
            formatter.write_dl(told)
