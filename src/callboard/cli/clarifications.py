"""`callboard clarifications`: questions that runs wait on."""

from __future__ import annotations

from typing import Any

import click
import orjson

from callboard.cli.api_client import open_api
from callboard.cli.output import JSON, output_option, print_json, print_table, printable, shown
from callboard.errors import InvalidInputError

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
_YES = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}


@click.group()
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
        print_table(listing["clarifications"], COLUMNS, empty="no questions")


@clarifications.command()
@click.argument("clarification_id")
@click.argument("answer")
@click.option("--comment", help="What else there is to say.")
@click.option("--by", "answered_by", help="Who answers, as people will read it.")
@click.option("--json", "as_json", is_flag=True, help="ANSWER is JSON, for questions with a schema.")
@output_option
def answer(
    clarification_id: str, answer: str, comment: str | None, answered_by: str | None, as_json: bool, output: str
) -> None:
    """Answer a question: a text, one of its options, or yes or no. CLARIFICATION_ID may be the task's id."""
    with open_api() as api:
        value = _json(answer) if as_json else _value(api.get("clarifications"), clarification_id, answer)
        done = api.post(
            "agents",
            "approve",
            clarification_id,
            body={"answer": value, "comment": comment, "answered_by": answered_by},
        )
    if output == JSON:
        print_json(done)
    else:
        click.echo(f"{printable(done['question'])} {printable(shown(done['answer']))}")


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
        return _YES.get(text.lower(), text)
    if kind == "action":
        return {"done": _YES.get(text.lower(), text == "done")}
    if asked is not None and kind == "input" and asked["schema"] is not None:
        return _json(text)
    return text


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(f"the answer is no JSON: {error}", field="answer") from error
