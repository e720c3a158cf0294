"""The `callboard` command: its groups, loaded when they are asked for, and its exit codes (INTERFACE.md, section 2)."""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from click.exceptions import NoSuchCommand

from callboard.errors import CallboardError, InvalidInputError, NotFoundError, UnavailableError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_FOUND = 3
EXIT_UNREACHABLE = 4

_NOT_ABOUT_REACHING = frozenset({"agent_unavailable", "no_answer"})
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})

COMMANDS: Mapping[str, tuple[str, str]] = {
    "up": ("callboard.cli.up:up", "Run everything in one process."),
    "serve": ("callboard.cli.serve:serve", "Run one role of the distributed system."),
    "run": ("callboard.cli.run:run", "Give an agent something to do."),
    "agents": ("callboard.cli.agents:agents", "List, check, make, compare and pause agents."),
    "runs": ("callboard.cli.runs:runs", "List, show, cancel, retry, rerun and replay runs."),
    "artifacts": ("callboard.cli.artifacts:artifacts", "List and fetch what runs have made."),
    "tools": ("callboard.cli.tools:tools", "List the tools that agents may use."),
    "mcp": ("callboard.cli.mcp:mcp", "List tools of MCP servers, approve those that have changed."),
    "memory": ("callboard.cli.memory:memory", "Show, correct and clear what agents remember."),
    "costs": ("callboard.cli.costs:costs", "Show what agents have cost, and what may still be spent."),
    "trace": ("callboard.cli.trace:trace", "Show everything that happened under a trace id."),
    "logs": ("callboard.cli.logs:logs", "Show the log lines of a trace id."),
    "schedules": ("callboard.cli.schedules:schedules", "List, preview, run and pause schedules."),
    "clarifications": ("callboard.cli.clarifications:clarifications", "List and answer questions of agents."),
    "deadletters": ("callboard.cli.deadletters:deadletters", "List, requeue and drop events nobody could handle."),
    "slack": ("callboard.cli.slack:slack", "Set up Slack, check it, or play Slack."),
    "db": ("callboard.cli.db:db", "Bring the database up to date, or check it."),
    "schema": ("callboard.cli.schema:schema", "Print the JSON Schema of a file."),
    "doctor": ("callboard.cli.doctor:doctor", "Show what is set, what is missing and what cannot be reached."),
    "demo": ("callboard.cli.demo:demo", "See the whole system work, without any account."),
}
"""name → (module:attribute, what the list of commands says)"""


class LazyGroup(click.Group):
    """Imports a command's module when the command is used, so that each pays for its own libraries only."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            if ctx.resilient_parsing:
                return None
            raise NoSuchCommand(cmd_name, possibilities=COMMANDS, ctx=ctx)
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="callboard", prog_name="callboard")
def cli() -> None:
    """Callboard: agents on call for a team.

    Exit codes: 0 done, 1 it failed, 2 wrong usage, 3 not found, 4 the system cannot be reached.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal or a pipe of another encoding shows ? for what it has no sign for.
            stream.reconfigure(errors="replace")
    sys.exit(run_cli(arguments))


def run_cli(arguments: Sequence[str] | None = None) -> int:
    """The exit code; errors are one sentence on stderr."""
    try:
        result: Any = cli.main(args=None if arguments is None else list(arguments), standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return EXIT_FAILED
    except CallboardError as error:
        click.echo(f"Error: {error.message}", err=True)
        return exit_code_of(error)
    except BrokenPipeError:
        # Whoever read our output has gone: `callboard runs list | head`. Nothing more can be written.
        _write_no_more()
        return 0
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        _write_no_more()
        click.echo(f"Error: the output cannot be written: {error.strerror}", err=True)
        return EXIT_FAILED
    return result if isinstance(result, int) else 0


def _write_no_more() -> None:
    """What is still in the buffer goes nowhere, so that the interpreter does not fail on it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_code_of(error: CallboardError) -> int:
    """2 wrong input, 3 not found, 4 not reachable, 1 everything else: also an agent that takes no work or is silent."""
    match error:
        case InvalidInputError():
            return EXIT_USAGE
        case NotFoundError():
            return EXIT_NOT_FOUND
        case UnavailableError() if error.code not in _NOT_ABOUT_REACHING:
            return EXIT_UNREACHABLE
    return EXIT_FAILED
