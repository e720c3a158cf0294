"""`callboard mcp`: the tools that agents use on MCP servers, and those that have changed."""

from __future__ import annotations

import click

from callboard.cli.api_client import open_api
from callboard.cli.noun import Noun
from callboard.cli.output import JSON, output_option, print_json, print_table, printable
from callboard.errors import InvalidInputError

COLUMNS = {
    "agent": "AGENT",
    "server": "SERVER",
    "tool": "TOOL",
    "status": "STATUS",
    "seen_at": "SEEN",
    "approved_by": "APPROVED BY",
    "says": "SAYS",
}
_SAYS_CHARS = 200


@click.group(cls=Noun)
def mcp() -> None:
    """List tools of MCP servers and approve those that have changed."""


@mcp.command("list")
@click.argument("agent", required=False)
@output_option
def list_tools(agent: str | None, output: str) -> None:
    """Tools by agent and server; `changed` ones are withheld, and say what they say now. -o json shows all of both."""
    with open_api() as api:
        listing = api.get("mcp", "tools", agent=agent)
    if output == JSON:
        print_json(listing)
        return
    rows = [{**tool, "says": _says(tool["offered_form"] or tool["form"])} for tool in listing["tools"]]
    print_table(rows, COLUMNS, empty="no tool of an MCP server has been used yet")


@mcp.command()
@click.argument("agent")
@click.argument("server")
@click.argument("tool")
@click.option("--yes", is_flag=True, help="Do not show it and ask first.")
@output_option
def approve(agent: str, server: str, tool: str, yes: bool, output: str) -> None:
    """Let AGENT use TOOL of SERVER as the server offers it now."""
    with open_api() as api:
        listing = api.get("mcp", "tools", agent=agent)["tools"]
        found = next((each for each in listing if (each["server"], each["tool"]) == (server, tool)), None)
        digest = found["offered_digest"] if found is not None else None
        if found is not None and digest is not None and not yes:
            print_json({"before": found["form"], "now": found["offered_form"]})
            if not click.confirm("Approve what it is now?", err=True):
                raise InvalidInputError("not approved", code="not_approved")
        body = {"agent": agent, "server": server, "tool": tool, "digest": digest}
        done = api.post("mcp", "tools", "approve", body=body)
    if output == JSON:
        print_json(done)
    else:
        click.echo(f"{printable(tool)} of {printable(server)} is approved for {printable(agent)}")


def _says(form: dict[str, object]) -> str:
    text = " ".join(str(form.get("description", "")).split())
    return text if len(text) <= _SAYS_CHARS else text[: _SAYS_CHARS - 1] + "…"
