"""`callboard memory`: what agents remember, to look at, to correct and to have forgotten."""

from __future__ import annotations

from typing import Any

import click
import orjson

from callboard.cli.api_client import open_api
from callboard.cli.noun import Noun
from callboard.cli.output import JSON, output_option, print_json, print_record, print_table, printable
from callboard.errors import InvalidInputError

CONVERSATIONS = {
    "conversation_id": "CONVERSATION",
    "turns": "TURNS",
    "messages": "MESSAGES",
    "summarised": "SUMMARISED",
    "entries": "ENTRIES",
    "updated_at": "WRITTEN",
}
ENTRIES = {
    "key": "KEY",
    "value": "VALUE",
    "by": "BY",
    "run_id": "RUN",
    "untrusted": "UNTRUSTED",
    "updated_at": "WRITTEN",
}
MESSAGES = {"n": "N", "role": "WHO", "said": "SAID", "run_id": "RUN"}
_SAID_CHARS = 300

conversation_option = click.option("--conversation", metavar="C", help="Only of this conversation.")


@click.group(cls=Noun)
def memory() -> None:
    """Show, correct and clear what agents remember."""


@memory.command("list")
@click.argument("agent")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at most.")
@output_option
def list_conversations(agent: str, limit: int, output: str) -> None:
    """Conversations of AGENT, the one that was written last first."""
    with open_api() as api:
        listing = api.get("agents", agent, "memory", limit=limit)
    if output == JSON:
        print_json(listing)
    else:
        print_table(listing["conversations"], CONVERSATIONS, empty=f"{printable(agent)} remembers nothing")


@memory.command()
@click.argument("agent")
@click.argument("conversation", required=False)
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="How many messages.")
@output_option
def show(agent: str, conversation: str | None, limit: int, output: str) -> None:
    """A conversation's summary, entries and newest messages; without CONVERSATION of the one written last."""
    with open_api() as api:
        shown = api.get("agents", agent, "memory", "conversation", conversation_id=conversation, limit=limit)
    if output == JSON:
        print_json(shown)
        return
    summary = {"summary": shown["summary"], "summary_untrusted": shown["summary_untrusted"] or None}
    print_record({"agent": shown["agent"], **shown["conversation"], **summary})
    if shown["entries"]:
        click.echo()
        print_table(shown["entries"], ENTRIES, empty="")
    if shown["messages"]:
        click.echo()
        rows = [{**message, "said": _said(message)} for message in shown["messages"]]
        print_table(rows, MESSAGES, empty="")


@memory.command("set")
@click.argument("agent")
@click.argument("key")
@click.argument("value")
@click.option("--conversation", metavar="C", help="Only for this conversation; else for all that share one memory.")
@click.option("--json", "as_json", is_flag=True, help="VALUE is JSON, not a text.")
@output_option
def set_entry(agent: str, key: str, value: str, conversation: str | None, as_json: bool, output: str) -> None:
    """Let AGENT remember VALUE under KEY, in place of what is there."""
    body = {"key": key, "value": _json(value) if as_json else value, "conversation_id": conversation}
    with open_api() as api:
        entry = api.post("agents", agent, "memory", "set", body=body)
    if output == JSON:
        print_json(entry)
    else:
        click.echo(f"{printable(agent)} remembers {printable(key)} in {printable(entry['conversation_id'])}")


@memory.command()
@click.argument("agent")
@click.argument("key", required=False)
@conversation_option
@click.option("--run", "run_id", metavar="RUN", help="Only what this run has left, its messages too.")
@click.option("--yes", is_flag=True, help="Do not ask before all entries are forgotten.")
@output_option
def forget(agent: str, key: str | None, conversation: str | None, run_id: str | None, yes: bool, output: str) -> None:
    """Let AGENT forget the entry under KEY wherever it is, or all entries; --conversation and --run say which."""
    if key is None and conversation is None and run_id is None:
        _confirm(f"Forget every entry of {agent}?", yes=yes)
    body = {"key": key, "conversation_id": conversation, "run_id": run_id}
    with open_api() as api:
        done = api.post("agents", agent, "memory", "forget", body=body)
    _tell(agent, done, output)


@memory.command()
@click.argument("agent")
@click.argument("conversation", required=False)
@click.option("--yes", is_flag=True, help="Do not ask first.")
@output_option
def clear(agent: str, conversation: str | None, yes: bool, output: str) -> None:
    """Let AGENT forget CONVERSATION, or all: messages, summary and entries."""
    _confirm(f"Clear {f'conversation {conversation}' if conversation else 'all conversations'} of {agent}?", yes=yes)
    with open_api() as api:
        done = api.post("agents", agent, "memory", "clear", body={"conversation_id": conversation})
    _tell(agent, done, output)


def _confirm(question: str, *, yes: bool) -> None:
    if not yes and not click.confirm(printable(question), err=True):
        raise InvalidInputError("nothing was forgotten", code="not_confirmed")


def _tell(agent: str, done: dict[str, Any], output: str) -> None:
    if output == JSON:
        print_json(done)
        return
    numbers = f"{done['entries']} entries and {done['messages']} messages"
    click.echo(f"{printable(agent)} has forgotten {numbers}")


def _said(message: dict[str, Any]) -> str:
    calls = [f"(calls {call['name']})" for call in message.get("tool_calls", ())]
    text = " ".join([message["content"], *calls]).strip()
    marked = f"[untrusted] {text}" if message.get("untrusted") else text
    return marked if len(marked) <= _SAID_CHARS else marked[: _SAID_CHARS - 1] + "…"


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(f"VALUE is no JSON: {error}", field="value") from error
