"""The app manifest that an administrator pastes into Slack to create the app; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from callboard.errors import InvalidInputError

MAX_COMMANDS = 50
"""Slack's limit of slash commands an app."""

BOT_EVENTS = ("app_mention", "message.channels", "message.groups", "message.im", "message.mpim")
BOT_SCOPES = (
    "app_mentions:read",
    "channels:history",
    "channels:read",
    "chat:write",
    "chat:write.public",
    "commands",
    "files:write",
    "groups:history",
    "im:history",
    "im:write",
    "mpim:history",
    "usergroups:read",
    "users:read",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlashCommand:
    """A command with its slash, and what it is for."""

    command: str
    description: str
    usage_hint: str = "[what you want]"


def app_manifest(
    commands: Sequence[SlashCommand], request_url: str, *, name: str = "Callboard", socket_mode: bool = False
) -> dict[str, Any]:
    """The manifest (schema version 2) for these commands, with every event and scope that Callboard uses.

    `request_url` is the public address of the gateway, without a path. Raises InvalidInputError when Slack would
    refuse it: not https, too many commands, a name or description that is too long.
    """
    _check(commands, request_url, name, socket_mode)
    base = request_url.rstrip("/")
    events: dict[str, Any] = {"bot_events": list(BOT_EVENTS)}
    interactivity: dict[str, Any] = {"is_enabled": True}
    if not socket_mode:
        events = {"request_url": f"{base}/slack/events", **events}
        interactivity["request_url"] = f"{base}/slack/interactions"
    return {
        "_metadata": {"major_version": 2, "minor_version": 1},
        "display_information": {"name": name, "description": "Agents on call for your team"},
        "features": {
            "app_home": {"messages_tab_enabled": True, "messages_tab_read_only_enabled": False},
            "bot_user": {"display_name": name, "always_online": True},
            "slash_commands": [_command(command, base, socket_mode) for command in commands],
        },
        "oauth_config": {"scopes": {"bot": list(BOT_SCOPES)}},
        "settings": {
            "event_subscriptions": events,
            "interactivity": interactivity,
            "org_deploy_enabled": False,
            "socket_mode_enabled": socket_mode,
            "token_rotation_enabled": False,
        },
    }


def _command(command: SlashCommand, base: str, socket_mode: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "command": command.command,
        "description": (command.description.strip() or f"Ask {command.command}")[:2000],
        "usage_hint": command.usage_hint[:1000],
        "should_escape": False,
    }
    return entry if socket_mode else {**entry, "url": f"{base}/slack/commands"}


def _check(commands: Sequence[SlashCommand], request_url: str, name: str, socket_mode: bool) -> None:
    if not socket_mode and not request_url.startswith("https://"):
        raise InvalidInputError(
            f"Slack sends requests only to https addresses, not to {request_url!r}: give the gateway's public URL",
            field="request_url",
        )
    if not 1 <= len(name) <= 35:
        raise InvalidInputError(f"an app's name has 1 to 35 characters, not {len(name)}", field="name")
    if len(commands) > MAX_COMMANDS:
        raise InvalidInputError(
            f"Slack takes at most {MAX_COMMANDS} slash commands an app, not {len(commands)}", field="commands"
        )
    for command in commands:
        if not command.command.startswith("/") or not 2 <= len(command.command) <= 32:
            raise InvalidInputError(
                f"{command.command!r} is no slash command: a slash and at most 31 characters", field="commands"
            )
