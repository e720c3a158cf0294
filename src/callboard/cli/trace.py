"""`callboard trace TRACE_ID`: the whole story as a tree with durations."""

from __future__ import annotations

from typing import Any

import click
from rich.text import Text
from rich.tree import Tree

from callboard.cli.api_client import ApiClient, open_api
from callboard.cli.output import JSON, cell, counted, duration, output_option, print_json, printable, show
from callboard.errors import NotFoundError
from callboard.state.told_answer import told_answer

_SHOWN_CHARS = 100
_TOLD = (
    ("thought", "italic"),
    ("arguments", "dim"),
    ("reason", "yellow"),
    ("policy", "yellow"),
    ("approval", "yellow"),
    ("rehearsal", "yellow"),
)
"""Of each thought, argument and observation; all that is stored of them is in `--output json`."""


@click.command()
@click.argument("trace_id", required=False)
@output_option
def trace(trace_id: str | None, output: str) -> None:
    """Show everything that happened under TRACE_ID: events, runs, their steps, questions and messages.

    Without TRACE_ID it is the newest run's.
    """
    with open_api() as api:
        story = api.get("traces", trace_id or _newest(api))
    if output == JSON:
        print_json(story)
        return
    head = f"trace {story['trace_id']}  {duration(story['duration_ms'])}  {counted(story['runs'], 'run')}"
    if story["cost_usd"]:
        head += f"  ${story['cost_usd']:.4f}"
    tree = Tree(Text(head, style="bold"), guide_style="dim")
    for node in story["tree"]:
        _add(tree, node)
    show(tree)


def _newest(api: ApiClient) -> str:
    runs = api.get("runs", limit=1)["runs"]
    if not runs:
        raise NotFoundError("there is no run yet: start one with `callboard run AGENT TEXT`")
    return str(runs[0]["trace_id"])


def _add(tree: Tree, node: dict[str, Any]) -> None:
    branch = tree.add(_line(node))
    for child in node["children"]:
        _add(branch, child)


def _reasoning(node: dict[str, Any]) -> Text:
    """What was thought, wanted, decided and seen, each in a few words."""
    told = Text()
    if node.get("input_tokens") is not None and node["kind"] == "model":
        told.append(f"  {node['input_tokens']}+{node['output_tokens']} tokens", style="dim")
        if node.get("cost_usd"):
            told.append(f"  ${node['cost_usd']:.4f}", style="dim")
    for name, style in _TOLD:
        if node.get(name):
            told.append(f"  {_short(node[name])}", style=style)
    if node.get("observation"):
        told.append(f"  → {_short(node['observation'])}")
    return told


def _short(value: Any) -> str:
    if isinstance(value, dict):
        value = " ".join(str(part) for part in value.values() if part not in (None, ""))
    text = " ".join(printable(str(value)).split())
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def _line(node: dict[str, Any]) -> Text:
    line = Text.assemble((f"{node['kind']} ", "dim"), printable(node["name"]).replace("\n", " "))
    if node["status"]:
        line.append("  ").append_text(cell(node["status"]))
    spent = duration(node["duration_ms"])
    if spent:
        line.append(f"  {spent}", style="cyan")
    if node.get("queued_ms"):
        line.append(f"  (queued {duration(node['queued_ms'])})", style="dim")
    if node["kind"] in ("run", "event"):
        line.append(f"  {node['id']}", style="dim")
    if node.get("answered_by"):
        line.append(f"  {printable(str(node['answered_by']))}: {_short(told_answer(node['answer']))}")
    line.append_text(_reasoning(node))
    error = node.get("error")
    if error:
        line.append(f"  {printable(str(error.get('message') or error.get('code')))}", style="red")
    return line
