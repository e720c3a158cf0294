"""The manifest that creates the Slack app."""

from __future__ import annotations

import re

import pytest

from callboard.errors import InvalidInputError
from callboard.integrations.slack_manifest import BOT_SCOPES, SlashCommand, app_manifest

STANDUP = SlashCommand(command="/standup", description="Sums up")


def test_every_command_event_and_click_goes_to_the_gateway() -> None:
    manifest = app_manifest([STANDUP], "https://bots.example/")
    command = manifest["features"]["slash_commands"][0]
    assert (command["command"], command["url"]) == ("/standup", "https://bots.example/slack/commands")
    settings = manifest["settings"]
    assert settings["event_subscriptions"]["request_url"] == "https://bots.example/slack/events"
    assert settings["interactivity"] == {"is_enabled": True, "request_url": "https://bots.example/slack/interactions"}
    assert "app_mention" in settings["event_subscriptions"]["bot_events"]


def test_each_subscribed_event_has_the_scope_it_needs() -> None:
    needed = {"app_mention": "app_mentions:read"}
    needed |= {f"message.{kind}": f"{kind}:history" for kind in ("channels", "groups", "im", "mpim")}
    events = app_manifest([], "https://x")["settings"]["event_subscriptions"]["bot_events"]
    assert {needed[event] for event in events} <= set(BOT_SCOPES)


def test_socket_mode_needs_no_address() -> None:
    manifest = app_manifest([STANDUP], "", socket_mode=True)
    assert "url" not in str(manifest["features"]["slash_commands"])
    assert manifest["settings"]["socket_mode_enabled"] is True


@pytest.mark.parametrize(
    ("commands", "url", "name", "message"),
    [
        ([], "http://x", "Callboard", "only to https"),
        ([], "https://x", "", "1 to 35"),
        ([STANDUP] * 51, "https://x", "Callboard", "at most 50"),
        ([SlashCommand(command="standup", description="")], "https://x", "Callboard", "no slash command"),
    ],
)
def test_what_slack_would_refuse_is_refused_with_the_way_out(
    commands: list[SlashCommand], url: str, name: str, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        app_manifest(commands, url, name=name)
