"""`callboard clarifications`: questions that runs wait on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
import orjson

from callboard.cli.api_client import open_api
from callboard.cli.noun import Noun
from callboard.cli.output import JSON, output_option, print_json, print_record, print_table, printable
from callboard.cli.run_view import how_to_answer
from callboard.errors import InvalidInputError
from callboard.state.told_answer import told_answer

COLUMNS = {
    "clarification_id": "QUESTION",
    "agent": "AGENT",
    "kind": "KIND",
    "question": "TEXT",
    "options": "OPTIONS",
    "status": "STATUS",
    "asked_at": "ASKED",
    "task_id": "TASK",
}
MORE_COLUMNS = {
    "purpose": "PURPOSE",
    "tool": "TOOL",
    "deadline": "DEADLINE",
    "may_answer": "MAY ANSWER",
    "told": "ANSWER",
    "answered_by": "BY",
}
"""Shown where a question has one of them."""

_EXAMPLES = """\b
Examples:
  callboard clarifications answer ID Friday
  callboard clarifications answer ID --approve --arguments '{"text": "hello"}'
  callboard clarifications answer ID --reject --reason "not yet"
"""

_YES = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}


@click.group(cls=Noun)
def clarifications() -> None:
    """List and answer questions of agents."""


@clarifications.command("list")
@click.option(
    "--status",
    type=click.Choice(["asked", "answered", "expired", "cancelled", "all"]),
    default="asked",
    show_default=True,
    help="Only questions of this status.",
)
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at most.")
@output_option
def list_clarifications(status: str, limit: int, output: str) -> None:
    """Questions, newest first."""
    with open_api() as api:
        listing = api.get("clarifications", status=None if status == "all" else status, limit=limit)
    if output == JSON:
        print_json(listing)
    else:
        rows = [{**asked, "told": told_answer(asked["answer"])} for asked in listing["clarifications"]]
        print_table(rows, _columns(rows), empty="no questions")


@clarifications.command()
@click.argument("clarification_id")
@output_option
def show(clarification_id: str, output: str) -> None:
    """One question: what it is about, who may answer it until when, and its answer."""
    with open_api() as api:
        found = api.get("clarifications", clarification_id)
    if output == JSON:
        print_json(found)
    else:
        print_record({**found, "answer": told_answer(found["answer"])})
        if found["status"] == "asked":
            click.echo(f"answer it: {how_to_answer(found)}", err=True)


@clarifications.command(epilog=_EXAMPLES)
@click.argument("clarification_id")
@click.argument("answer", required=False)
@click.option("--approve", "approved", flag_value=True, type=bool, default=None, help="Let the call happen.")
@click.option("--reject", "approved", flag_value=False, type=bool, help="Do not let the call happen.")
@click.option("--reason", help="With --reject: why not, for the agent.")
@click.option("--arguments", help="With --approve: other arguments for the call, a JSON object.")
@click.option("--comment", help="What else there is to say.")
@click.option("--by", "answered_by", help="Who answers, as people will read it.")
@click.option("--json", "as_json", is_flag=True, help="ANSWER is JSON, for questions with a schema.")
@output_option
def answer(
    clarification_id: str,
    answer: str | None,
    approved: bool | None,
    reason: str | None,
    arguments: str | None,
    comment: str | None,
    answered_by: str | None,
    as_json: bool,
    output: str,
) -> None:
    """Answer a question: a text, one of its options, yes or no; or approve or reject a call.

    CLARIFICATION_ID may be the task's id.
    """
    decision = _decision(answer, approved, reason, arguments)
    with open_api() as api:
        if decision is None:
            text = answer or ""
            value = (
                _json(text)
                if as_json
                else _value(api.get("clarifications", status="asked", limit=500), clarification_id, text)
            )
        else:
            value = decision
        done = api.post(
            "agents",
            "approve",
            clarification_id,
            body={"answer": value, "comment": comment, "answered_by": answered_by},
        )
    if output == JSON:
        print_json(done)
    else:
        click.echo(f"{printable(done['question'])}\nanswered: {printable(told_answer(done['answer']))}")


def _decision(answer: str | None, approved: bool | None, reason: str | None, arguments: str | None) -> Any:
    """The answer that the options give; None where it is the argument. Raises UsageError where they do not agree."""
    if (answer is None) == (approved is None):
        raise click.UsageError("give either ANSWER, or --approve, or --reject")
    if arguments is not None and approved is not True:
        raise click.UsageError("--arguments goes with --approve")
    if reason is not None and approved is not False:
        raise click.UsageError("--reason goes with --reject")
    if arguments is not None:
        return {"approved": True, "arguments": _json(arguments, "--arguments")}
    if reason is not None:
        return {"approved": False, "reason": reason}
    return approved


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Those that every question has, and those that one of these has."""
    used = {
        key: heading
        for key, heading in MORE_COLUMNS.items()
        if any(row.get(key) not in (None, [], "", "question") for row in rows)
    }
    return {**COLUMNS, **used}


def _value(listing: dict[str, Any], identity: str, text: str) -> Any:
    """A text in the form that the question wants; the server has the last word."""
    asked = next(
        (
            each
            for each in listing["clarifications"]
            if each["status"] == "asked"
            and identity in (each["clarification_id"], each["task_id"], each["root_run_id"])
        ),
        None,
    )
    kind = asked["kind"] if asked is not None else None
    if kind == "confirmation":
        return _json(text) if text.lstrip().startswith("{") else _YES.get(text.lower(), text)
    if kind == "action":
        return {"done": _YES.get(text.lower(), text == "done")}
    if asked is not None and kind == "input" and asked["schema"] is not None:
        return _json(text)
    return text


def _json(text: str, what: str = "the answer") -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(
            f'{what} is no JSON, such as \'{{"text": "hello"}}\': {error}', field="answer"
        ) from error
