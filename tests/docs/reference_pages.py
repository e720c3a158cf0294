"""The reference pages, made from the program itself."""

from __future__ import annotations

import importlib
from typing import Any

import click

from callboard.cli.main import COMMANDS

CLI_HEAD = """\
# Command line

Made from the program by `UPDATE_SNAPSHOTS=1 .venv/bin/pytest tests/docs/test_reference_pages.py`.

The commands that talk to a running system use the HTTP API at `CALLBOARD_API_URL` (default
`http://127.0.0.1:8080`) with `CALLBOARD_API_TOKEN`, both also read from `.env`. `agents validate`, `agents
new`, `logs`, `schema`, `slack manifest` and `db` need no running system. Errors are one sentence on standard
error.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | it failed |
| 2 | wrong usage, or input that cannot be accepted |
| 3 | not found |
| 4 | the system cannot be reached |
"""

HTTP_HEAD = """\
# HTTP API

Made from the program by `UPDATE_SNAPSHOTS=1 .venv/bin/pytest tests/docs/test_reference_pages.py`. The whole
OpenAPI document is at `GET /api/v1/openapi.json`.

**Who is let in.** With `CALLBOARD_API_TOKEN` set: `Authorization: Bearer TOKEN`. Without it: this machine only
(a loopback `Host`, no `Forwarded` or `X-Forwarded-*` header), and a write needs `Content-Type:
application/json`; a write without a body may leave the type out unless a browser sends it.

**Errors** are always `{"error": {"code", "message", "field"?, "trace_id"}}`. 400 no JSON (NaN, NUL characters
and more than 64 levels are refused too) · 401 · 403 · 404 · 405 · 408 · 409 · 413 over 1 MiB · 422 wrong
content · 500 a defect, whose trace id the log has · 503 try again. A W3C `traceparent` header is honoured.

**Idempotency.** The same `idempotency_key` from the same caller with the same body gives the same `task_id`,
for 30 days; with another body 409 `idempotency_conflict`.

**Lists** are newest first; `next_cursor` of one page is the `cursor` of the next.

**Progress.** `GET /api/v1/runs/{run_id}/events` sends each line of the run as a server-sent event whose `id` is
the line's number, and `end` with the result last. `Last-Event-ID` (or `?after=`) goes on after that line. A
stream ends after an hour at the latest, and when the server stops.

`GET /health` and `GET /metrics` need no token.
"""


def cli_page() -> str:
    """Every command with its arguments and options."""
    parts = [CLI_HEAD]
    for name, (place, _) in COMMANDS.items():
        parts += _described(_command(place), f"callboard {name}")
    return "\n".join(parts)


def http_page(openapi: dict[str, Any]) -> str:
    """Every route with what it is for."""
    parts = [HTTP_HEAD]
    by_tag: dict[str, list[str]] = {}
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).append(_route(path, method, operation))
    for tag, lines in by_tag.items():
        parts += [f"## {tag.capitalize()}\n", "| route | what it is for | parameters | answers |", "|---|---|---|---|"]
        parts += [*lines, ""]
    return "\n".join(parts)


def _command(place: str) -> click.Command:
    module, _, attribute = place.partition(":")
    command: click.Command = getattr(importlib.import_module(module), attribute)
    return command


def _described(command: click.Command, path: str) -> list[str]:
    context = click.Context(command, info_name=path)
    if isinstance(command, click.Group):
        lines = [f"## {path}\n", _text(command), ""]
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            lines += _described(below, f"{path} {name}")
        return lines
    level = "##" if path.count(" ") == 1 else "###"
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    lines = [f"{level} {path}\n", f"`{usage}`\n", _text(command), ""]
    options = [
        f"- `{', '.join(option.opts)}`: {option.help or ''}"
        for option in command.params
        if isinstance(option, click.Option) and option.help
    ]
    if command.epilog:
        options += ["", " ".join(command.epilog.replace("\b", "").split()).replace("<", "\\<")]
    return [*lines, *options, ""] if options else lines


def _text(command: click.Command) -> str:
    return " ".join((command.help or "").split())


def _route(path: str, method: str, operation: dict[str, Any]) -> str:
    summary = operation.get("description", "").partition("\n")[0].replace("|", "\\|")
    names = [f"`{parameter['name']}`" for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
    if "requestBody" in operation:
        names.append("a JSON body")
    answers = " ".join(code for code in operation["responses"] if code[0] == "2" or code in ("404", "409"))
    return f"| `{method.upper()} {path}` | {summary} | {', '.join(names)} | {answers} |"
