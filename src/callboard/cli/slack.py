"""`callboard slack`: setting Slack up, checking it, playing it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from callboard.cli.agent_files import check_files
from callboard.cli.noun import Noun
from callboard.cli.output import JSON, output_option, print_json, print_table, printable
from callboard.errors import InvalidInputError, NotFoundError, UnavailableError
from callboard.integrations.slack_client import Done, NotSent, Refused, SlackClient
from callboard.integrations.slack_local import LocalSlack
from callboard.integrations.slack_local_workspace import LocalMessage
from callboard.integrations.slack_manifest import BOT_SCOPES, SlashCommand, app_manifest
from callboard.integrations.slack_simulator import Acknowledged, simulate
from callboard.settings import Settings, load_settings

LOCAL_SLACK = "http://127.0.0.1:8090/api/"
WHAT_FOR = {
    "files:write": "files:write (for pictures and other files that answers name)",
    "usergroups:read": "usergroups:read (for questions that a user group may answer)",
}
"""Scopes that an app made with an older manifest may lack."""


@click.group(cls=Noun)
def slack() -> None:
    """Set up Slack, check it, or play Slack."""


@slack.command()
@click.option("--url", required=True, help="The public https address of the gateway.")
@click.option("--agents", "folder", type=click.Path(path_type=Path), help="The folder of agent files.")
@click.option("--name", default="Callboard", show_default=True, help="The app's name.")
def manifest(url: str, folder: Path | None, name: str) -> None:
    """Print the app manifest to paste into Slack, with the slash commands of the agent files. Needs no server."""
    print_json(app_manifest(_commands(folder or load_settings().agents_folder), url, name=name))


@slack.command()
@output_option
def doctor(output: str) -> int:
    """Check what is set for Slack, and whether Slack knows the bot token. Exit code 1 when something is missing."""
    lines = asyncio.run(_diagnose(load_settings()))
    if output == JSON:
        print_json({"checks": lines})
    else:
        print_table(lines, {"check": "CHECK", "status": "STATUS", "message": "WHAT TO DO"}, empty="")
    return 0 if all(line["status"] != "failed" for line in lines) else 1


@slack.command("simulate", epilog='Example: callboard slack simulate "/echo hello"')
@click.argument("text")
@click.option(
    "--within", "within_seconds", type=click.FloatRange(0.1), default=30.0, show_default=True, help="Seconds."
)
@click.option("--gateway", help="Where slack-gateway is, as a process of its own (default: CALLBOARD_API_URL).")
@output_option
def simulate_command(text: str, within_seconds: float, gateway: str | None, output: str) -> int:
    """Send what Slack would send for TEXT (`/command …`, `@callboard …`, or a message) and show what comes back.

    Callboard must run with SLACK_SIGNING_SECRET set to the same value as here and SLACK_API_URL at the local Slack
    (http://127.0.0.1:8090/api/), which this command starts.
    """
    if not text.strip():
        raise click.UsageError("TEXT is empty: write a /command, a mention (@callboard …) or a message")
    settings = load_settings()
    try:
        sent, messages = asyncio.run(_simulate(text, settings, gateway or settings.api_url, within_seconds))
    except UnavailableError as error:
        raise _with_hint(error, text) from error
    if output == JSON:
        print_json(_record(sent, messages))
    else:
        _print(sent, messages)
    return 0 if sent.accepted else 1


async def _simulate(
    text: str, settings: Settings, gateway_url: str, within_seconds: float
) -> tuple[Acknowledged, tuple[LocalMessage, ...]]:
    if settings.slack_signing_secret is None:
        raise UnavailableError(
            "SLACK_SIGNING_SECRET is not set: for a trial put any text into .env, which `callboard up` reads too"
        )
    host, port = _local_address(settings.slack_api_url)
    try:
        async with LocalSlack(host=host, port=port) as local:
            return await simulate(
                text,
                slack=local,
                gateway_url=gateway_url,
                signing_secret=settings.slack_signing_secret.get_secret_value(),
                within_seconds=within_seconds,
            )
    except OSError as error:
        raise UnavailableError(f"the local Slack cannot listen on port {port}: {error.strerror or error}") from error


def _with_hint(error: UnavailableError, text: str) -> UnavailableError:
    """Where to look when nothing came back; any other error as it is."""
    if error.code != "no_answer":
        return error
    hint = "`callboard runs list` shows whether an agent has it"
    if not text.lstrip().startswith(("/", "@callboard")):
        hint = "a message without a mention reaches only agents that subscribe to slack.events.message.#; " + hint
    return UnavailableError(f"{error.message}; {hint}", code=error.code)


def _local_address(api_url: str) -> tuple[str, int]:
    parts = urlsplit(api_url)
    if parts.hostname not in ("127.0.0.1", "localhost") or parts.port is None:
        raise InvalidInputError(
            f"SLACK_API_URL is {api_url}: set it to {LOCAL_SLACK} for `callboard up` and for this command, so that the "
            "answers come to the local Slack",
            field="SLACK_API_URL",
        )
    return "127.0.0.1", parts.port


def _record(sent: Acknowledged, messages: Sequence[LocalMessage]) -> dict[str, Any]:
    answer = messages[0] if messages else None
    return {
        "status": sent.status,
        "body": sent.body,
        "acknowledged_ms": round(sent.seconds * 1000, 3),
        "answer": None
        if answer is None
        else {
            "text": answer.text,
            "shown": answer.shown,
            "channel": answer.channel,
            "thread_ts": answer.thread_ts,
            "via": answer.via,
            "buttons": [button["text"]["text"] for button in answer.buttons],
            "files": [{"name": file.name, "bytes": file.size_bytes} for message in messages for file in message.files],
        },
    }


def _print(sent: Acknowledged, messages: Sequence[LocalMessage]) -> None:
    click.echo(f"acknowledged with {sent.status} in {sent.seconds * 1000:.1f} ms", err=True)
    if sent.body:
        click.echo(printable(sent.body))
    for message in messages:
        click.echo(printable(message.shown))


def _commands(folder: Path) -> list[SlashCommand]:
    try:
        checked = check_files([folder])
    except NotFoundError:
        return []
    found = [each.file.definition for each in checked if each.file is not None and not each.problems]
    return [
        SlashCommand(command=command, description=definition.description)
        for definition in found
        if definition is not None
        for command in definition.slack.commands
    ]


async def _diagnose(settings: Settings) -> list[dict[str, str]]:
    secret, token = settings.slack_signing_secret, settings.slack_bot_token
    lines = [
        _line("SLACK_SIGNING_SECRET", secret is not None, "every request of Slack's is refused until it is set"),
        _line("SLACK_BOT_TOKEN", token is not None, "without it only response URLs can be answered"),
    ]
    if token is None:
        return lines
    async with SlackClient(token.get_secret_value(), api_url=settings.slack_api_url) as client:
        match await client.read("auth.test", {}):
            case Done(data=data, scopes=scopes):
                who = f"known as {data.get('user', '?')} in {data.get('team', '?')}"
                lines.append({"check": "auth.test", "status": "done", "message": who})
                lines += [] if scopes is None else [_scopes_line(scopes)]
            case Refused(code=code):
                lines.append({"check": "auth.test", "status": "failed", "message": f"Slack refuses the token: {code}"})
            case NotSent(reason=reason):
                trial = (
                    "; `slack simulate` plays a Slack there while it runs"
                    if "//127.0.0.1:" in settings.slack_api_url
                    else ""
                )
                message = f"{settings.slack_api_url} cannot be reached ({reason}){trial}"
                lines.append({"check": "auth.test", "status": "failed", "message": message})
            case reply:
                message = f"{settings.slack_api_url} gives no answer: {type(reply).__name__}"
                lines.append({"check": "auth.test", "status": "failed", "message": message})
    return lines


def _scopes_line(scopes: frozenset[str]) -> dict[str, str]:
    missing = [WHAT_FOR.get(scope, scope) for scope in BOT_SCOPES if scope not in scopes]
    if not missing:
        return {"check": "scopes", "status": "done", "message": ""}
    advice = "make the manifest again, paste it under App Manifest and install the app once more"
    return {"check": "scopes", "status": "failed", "message": f"missing: {', '.join(missing)}; {advice}"}


def _line(name: str, is_set: bool, advice: str) -> dict[str, str]:
    return {"check": name, "status": "done" if is_set else "failed", "message": "" if is_set else f"not set: {advice}"}
