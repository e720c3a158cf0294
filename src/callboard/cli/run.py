"""`callboard run AGENT TEXT`: give an agent something to do."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from callboard.cli.api_client import ApiClient, StreamedEvent, open_api
from callboard.cli.output import JSON, console, output_option, print_json, printable, shown
from callboard.cli.rehearsal import print_rehearsal
from callboard.cli.run_view import how_to_answer
from callboard.cli.waiting import why_it_is_queued
from callboard.errors import InvalidInputError, UnavailableError

TERMINAL = frozenset({"succeeded", "failed", "cancelled", "timed_out"})
_RECONNECTS = 20
_RECONNECT_SECONDS = 0.5


@click.command(epilog='Example: callboard run example-autonomous "hello" --wait')
@click.argument("agent")
@click.argument("text")
@click.option("--wait", is_flag=True, help="Wait for the end and print the output.")
@click.option("--follow", is_flag=True, help="Like --wait, and print what happens meanwhile.")
@click.option("--priority", type=click.Choice(["low", "normal", "high", "critical"]), help="How urgent it is.")
@click.option("--conversation", help="The conversation it belongs to, for agents that remember.")
@click.option("--dry-run", is_flag=True, help="Do nothing in the world, wait, and tell what would have been done.")
@click.option("--idempotency-key", help="The same key with the same text is the same task.")
@output_option
def run(
    agent: str,
    text: str,
    wait: bool,
    follow: bool,
    priority: str | None,
    conversation: str | None,
    dry_run: bool,
    idempotency_key: str | None,
    output: str,
) -> int:
    """Give AGENT something to do. TEXT may be - to read it from standard input.

    With --wait, --follow or --dry-run the exit code is 1 when the run did not succeed.
    """
    given = _given(text)
    if not given.strip():
        raise click.UsageError("TEXT is empty: say what the agent is to do")
    with open_api() as api:
        body = {
            "agent": agent,
            "input": given,
            "priority": priority,
            "conversation_id": conversation,
            "idempotency_key": idempotency_key,
            "dry_run": dry_run or None,
        }
        accepted = api.post("agents", "invoke", body=body)
        if not (wait or follow or dry_run):
            _print_accepted(accepted, output)
            return 0
        behind = why_it_is_queued(api, accepted["task_id"], agent)
        if behind is not None:
            click.echo(printable(behind), err=True)
        ended = wait_for_end(api, accepted["task_id"], follow=follow)
        if dry_run:
            ended = api.get("agents", "result", accepted["task_id"])
    code = _print_end(ended, output)
    if dry_run and output != JSON:
        print_rehearsal(ended)
    return code


def _given(text: str) -> str:
    """What the argument or standard input says. Raises InvalidInputError for what is no UTF-8."""
    try:
        given = sys.stdin.buffer.read().decode() if text == "-" else text
        given.encode()
    except UnicodeError as error:
        raise InvalidInputError("TEXT is not UTF-8: an agent is given text, no other data", field="input") from error
    return given


@contextlib.contextmanager
def _told_when_interrupted(task_id: str) -> Iterator[None]:
    """Ctrl-C ends the watching only, and says so."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(
            f"stopped watching; the run goes on: `callboard runs show {task_id}`, or `callboard runs cancel {task_id}`",
            err=True,
        )
        raise click.exceptions.Exit(1) from None


def _print_accepted(accepted: dict[str, Any], output: str) -> None:
    if output == JSON:
        print_json(accepted)
        return
    click.echo(f"task  {accepted['task_id']}\ntrace {accepted['trace_id']}")


def _print_end(ended: dict[str, Any], output: str) -> int:
    if output == JSON:
        print_json(ended)
    elif ended["status"] == "succeeded":
        value = ended["output"]
        click.echo(printable(value) if isinstance(value, str) else shown(value))
    else:
        error = ended.get("error") or {}
        click.echo(f"Error: the run {ended['status']}: {printable(error.get('message', 'no reason given'))}", err=True)
    return 0 if ended["status"] == "succeeded" else 1


def wait_for_end(api: ApiClient, task_id: str, *, follow: bool) -> dict[str, Any]:
    """Follows the run's stream to its end, over lost connections."""
    after, lost, paused = "0", 0, False
    with _told_when_interrupted(task_id), _spinner(follow) as say:
        while True:
            try:
                with api.watch(task_id, after) as events:
                    for event in events:
                        lost, after = 0, event.id
                        if event.name == "end":
                            return event.data
                        _tell(api, task_id, event, follow=follow, say=say)
                        if event.name == "paused" and not (follow or paused):
                            paused = True
                            _tell_pause(event)
            except UnavailableError:
                lost += 1
                if lost > _RECONNECTS:
                    raise
            time.sleep(_RECONNECT_SECONDS)


def _tell(api: ApiClient, task_id: str, event: StreamedEvent, *, follow: bool, say: Any) -> None:
    data = event.data.get("data", {})
    status = str(data.get("status", event.name))
    say(status)
    if follow:
        details = " ".join(f"{name}={shown(value)}" for name, value in data.items())
        click.echo(f"{shown(event.data.get('at'))}  {event.name}  {printable(details)}", err=True)
    if data.get("waiting_for") in ("clarification", "approval", "budget"):
        asked = [each for each in api.get("runs", task_id)["clarifications"] if each["status"] == "asked"]
        for question in asked:
            options = f" [{', '.join(question['options'])}]" if question["options"] else ""
            click.echo(f"{printable(question['question'])}{options}", err=True)
            if question["purpose"] == "approval":
                _tell_call(question)
            click.echo(f"answer it: {how_to_answer(question)}", err=True)


def _tell_call(question: Mapping[str, Any]) -> None:
    click.echo(f"arguments: {printable(shown(question['arguments']))}", err=True)
    why = question["details"].get("why")
    if why:
        click.echo(f"asked because {printable(shown(why))}", err=True)


def _tell_pause(event: StreamedEvent) -> None:
    """Once: a run may pause again and again until its provider is back."""
    data = event.data.get("data", {})
    click.echo(f"waits for a {data.get('for')}, and goes on by itself: {printable(str(data.get('reason')))}", err=True)


@contextlib.contextmanager
def _spinner(follow: bool) -> Iterator[Any]:
    """On a terminal the status turns while the run goes on; elsewhere nothing is shown."""
    screen = console(stderr=True)
    if follow or not screen.is_terminal:
        yield lambda text: None
        return
    with screen.status("queued") as status:
        yield status.update
