"""A replay beside its original, in words."""

from __future__ import annotations

from typing import Any

import click

from callboard.cli.output import counted, print_table, printable, shown
from callboard.cli.rehearsal import print_rehearsal

_SHOWN_CHARS = 100
_SHOWN_LINES = 60
_CALLS = {
    "step": "STEP",
    "change": "CALL",
    "tool": "TOOL",
    "origin": "ORIGINAL",
    "replay": "REPLAY",
    "result": "RESULT",
}
_STEPS = {"step": "STEP", "agent": "AGENT", "change": "OUTPUT", "status": "STATUS"}
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def print_comparison(told: dict[str, Any]) -> None:
    """The verdict, status, cost, steps and calls side by side, and the difference of the outputs."""
    verdict = "came to the same" if told["equal"] else "came to something else"
    changed = " ".join(f"{name}={value}" for name, value in told["variant"].items() if name != "origin")
    click.echo(f"{told['run_id']} replays {told['origin_run_id']}{f' with {printable(changed)}' if changed else ''}")
    click.echo(f"verdict  {verdict}")
    click.echo(f"status   {_both(told['status'])}")
    used = {name: f"{each['input_tokens']}+{each['output_tokens']}" for name, each in told["usage"].items()}
    click.echo(f"tokens   {_both(used)}")
    click.echo(f"cost     {_both({name: f'${usd:.4f}' for name, usd in told['cost_usd'].items()})}")
    for name, error in told["error"].items():
        if error is not None:
            click.echo(f"{name} failed: {printable(error['message'])}")
    if told["steps"]:
        print_table(told["steps"], _STEPS, empty="")
    if told["calls"]:
        print_table([_call(call) for call in told["calls"]], _CALLS, empty="")
    if told["dry"]:
        print_rehearsal(told)
    _print_difference(told["output"]["diff"].splitlines())


def _print_difference(lines: list[str]) -> None:
    for line in lines[:_SHOWN_LINES]:
        click.echo(click.style(printable(line), fg=_COLOURS.get(line[:1])))
    if len(lines) > _SHOWN_LINES:
        click.echo(
            f"… {counted(len(lines) - _SHOWN_LINES, 'more line')} of difference: -o json has all of it", err=True
        )


def _both(values: dict[str, str]) -> str:
    if values["origin"] == values["replay"]:
        return f"{values['origin']} both times"
    return f"{values['origin']} then, {values['replay']} now"


def _call(call: dict[str, Any]) -> dict[str, Any]:
    sides = {side: _short(call[side]["arguments"]) if call[side] else "" for side in ("origin", "replay")}
    if call["change"] == "same":
        sides["replay"] = "the same"
    result = "the same" if call["same_result"] else "" if call["change"] in ("missing", "added") else "another"
    return {"step": call["step"], "change": call["change"], "tool": call["tool"], **sides, "result": result}


def _short(arguments: Any) -> str:
    text = shown(arguments)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"
