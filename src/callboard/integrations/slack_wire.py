"""The requests that Slack sends, built and signed as Slack does it; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import orjson

from callboard.errors import NotFoundError
from callboard.integrations.slack_local_workspace import BOT_USER, TEAM, LocalMessage
from callboard.integrations.slack_signature import sign

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user of the workspace."""

    id: str = "U0ANNA"
    name: str = "anna"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A conversation; `type` is Slack's channel_type (channel, group, im, mpim)."""

    id: str = "C0GENERAL"
    name: str = "general"
    type: str = "channel"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackRequest:
    """A request before it is signed."""

    path: str
    content_type: str
    body: bytes

    def signed(self, secret: str, at: datetime, extra: Mapping[str, str] | None = None) -> SignedRequest:
        """With Slack's headers, as if sent at that moment."""
        timestamp = int(at.timestamp())
        headers = {
            "content-type": self.content_type,
            "x-slack-request-timestamp": str(timestamp),
            "x-slack-signature": sign(secret, timestamp, self.body),
            "user-agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        }
        return SignedRequest(path=self.path, headers={**headers, **(extra or {})}, body=self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """What goes over the wire."""

    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def slash_command(line: str, *, person: Person, channel: Channel, response_url: str, trigger_id: str) -> SlackRequest:
    """`/standup what is new` typed into a channel."""
    command, _, text = line.strip().partition(" ")
    fields = {
        "token": "unused",
        "team_id": TEAM,
        "team_domain": "local",
        "channel_id": channel.id,
        "channel_name": channel.name,
        "user_id": person.id,
        "user_name": person.name,
        "command": command,
        "text": text.strip(),
        "api_app_id": "A0LOCAL",
        "is_enterprise_install": "false",
        "response_url": response_url,
        "trigger_id": trigger_id,
    }
    return SlackRequest(path="/slack/commands", content_type=FORM, body=urlencode(fields).encode())


def message_event(
    text: str,
    *,
    ts: str,
    event_id: str,
    person: Person,
    channel: Channel,
    kind: str = "message",
    thread_ts: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> SlackRequest:
    """Something that was written; `kind` is `message` or `app_mention`. `extra` goes into the inner event."""
    event: dict[str, Any] = {
        "type": kind,
        "user": person.id,
        "text": text,
        "ts": ts,
        "event_ts": ts,
        "channel": channel.id,
        "team": TEAM,
        "client_msg_id": event_id,
        **({"channel_type": channel.type} if kind == "message" else {}),
        **({"thread_ts": thread_ts} if thread_ts else {}),
        **(extra or {}),
    }
    return event_callback(event, event_id=event_id)


def event_callback(event: Mapping[str, Any], *, event_id: str) -> SlackRequest:
    """The Events API's envelope."""
    envelope = {
        "token": "unused",
        "team_id": TEAM,
        "api_app_id": "A0LOCAL",
        "event": dict(event),
        "type": "event_callback",
        "event_id": event_id,
        "event_time": int(float(event.get("event_ts", 0))),
        "authorizations": [{"team_id": TEAM, "user_id": BOT_USER, "is_bot": True}],
    }
    return SlackRequest(path="/slack/events", content_type=JSON, body=orjson.dumps(envelope))


def url_verification(challenge: str) -> SlackRequest:
    """What Slack asks when the request URL is entered."""
    body = {"token": "unused", "challenge": challenge, "type": "url_verification"}
    return SlackRequest(path="/slack/events", content_type=JSON, body=orjson.dumps(body))


def button_click(
    message: LocalMessage,
    button: Mapping[str, Any],
    *,
    person: Person,
    response_url: str,
    trigger_id: str,
) -> SlackRequest:
    """A button pressed on a message."""
    container = {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": message.channel,
        "is_ephemeral": message.visible_to is not None,
        **({"thread_ts": message.thread_ts} if message.thread_ts else {}),
    }
    action = {**button, "action_ts": message.ts}
    return interaction(
        {
            "type": "block_actions",
            "container": container,
            "channel": {"id": message.channel, "name": "general"},
            "message": {
                "ts": message.ts,
                "text": message.text,
                **({"thread_ts": message.thread_ts} if message.thread_ts else {}),
            },
            "response_url": response_url,
            "trigger_id": trigger_id,
            "actions": [action],
        },
        person=person,
    )


def view_submission(
    view: Mapping[str, Any], values: Mapping[str, Mapping[str, str]], *, person: Person, trigger_id: str
) -> SlackRequest:
    """A modal that was filled in: block id → action id → text, of a list of options the value."""
    kinds = {
        block["block_id"]: block["element"]["type"] for block in view.get("blocks", ()) if block.get("type") == "input"
    }
    state = {
        block: {action: _entered(kinds.get(block, "plain_text_input"), text) for action, text in fields.items()}
        for block, fields in values.items()
    }
    submitted = {**view, "state": {"values": state}}
    return interaction(
        {"type": "view_submission", "trigger_id": trigger_id, "view": submitted, "response_urls": []}, person=person
    )


def filled_in(view: Mapping[str, Any], entered: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The values of a modal's fields: those entered by label, the others as they stood. Raises NotFoundError."""
    blocks = {block["label"]["text"]: block for block in view["blocks"] if block.get("type") == "input"}
    unknown = sorted(set(entered) - set(blocks))
    if unknown:
        raise NotFoundError(f"the form has no field {unknown[0]!r}; its fields: {', '.join(blocks)}", field="label")
    values = {}
    for label, block in blocks.items():
        element = block["element"]
        text = entered[label] if label in entered else _initial(element)
        if label in entered and "options" in element:
            text = next(option["value"] for option in element["options"] if option["text"]["text"] == text)
        values[block["block_id"]] = {element["action_id"]: text}
    return values


def _initial(element: Mapping[str, Any]) -> str:
    chosen = element.get("initial_option") or {}
    return str(element.get("initial_value") or element.get("initial_date") or chosen.get("value") or "")


def _entered(kind: str, text: str) -> dict[str, Any]:
    """An element's state as Slack reports it; what was left empty is null."""
    match kind:
        case "static_select":
            option = {"text": {"type": "plain_text", "text": text}, "value": text} if text else None
            return {"type": kind, "selected_option": option}
        case "datepicker":
            return {"type": kind, "selected_date": text or None}
        case _:
            return {"type": kind, "value": text or None}


def interaction(payload: Mapping[str, Any], *, person: Person) -> SlackRequest:
    """The form in which interactivity arrives."""
    complete = {
        "user": {"id": person.id, "username": person.name, "name": person.name, "team_id": TEAM},
        "api_app_id": "A0LOCAL",
        "team": {"id": TEAM, "domain": "local"},
        **payload,
    }
    body = urlencode({"payload": orjson.dumps(complete).decode()}).encode()
    return SlackRequest(path="/slack/interactions", content_type=FORM, body=body)
