"""What Slack sends, as events: topics, payloads and the keys under which each is met once; pure.

A message that mentions the bot reaches us twice, as `message` and as `app_mention` with one `ts`, in either order: both
share a key, the first makes the event and its topic. So that mention subscriptions do not depend on the order, the
payload says `mentions_bot` whenever the text names the bot (Slack's `authorizations` say who that is).
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from callboard.errors import InvalidInputError
from callboard.ids import derive_id
from callboard.integrations.slack_requests import clean, object_at, objects_at, text_at
from callboard.messaging.events import Actor, Event, EventType
from callboard.state.accepting import EventDraft

ANSWER_ACTION = "callboard.answer"
"""The action id (with `.N` or `.open` behind it) and callback id of our own questions' buttons and forms."""

_OWN_ACTION = re.compile(rf"{re.escape(ANSWER_ACTION)}(\.[a-z0-9]+)?")
_MESSAGE_SUBTYPES = frozenset({"", "file_share", "thread_broadcast", "me_message"})
"""Messages that a person wrote. Edits, deletions, joins and bots' messages have other subtypes."""

_CHANNEL_TYPES = {"C": "channel", "D": "im", "G": "group"}
_LEADING_MENTION = re.compile(r"\s*<@([A-Z0-9]+)(?:\|[^>]*)?>[\s,:]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """Slack's question whether this URL is ours; the answer is the challenge itself."""

    challenge: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """Something that is acknowledged and makes no event, with the reason for the log."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackEvent:
    """One thing that happened in Slack, in the shape that agents see.

    `payload` has the keys text, user {id, name}, team, channel {id, name}, thread_ts, ts, command, response_url,
    trigger_id, action {action_id, block_id, value}, view {id, callback_id, private_metadata, values: {block: {action:
    text}}}, raw_type and mentions_bot; what does not apply is None.
    """

    event_type: EventType
    topic: str
    payload: dict[str, Any]
    identity: str
    dedupe_keys: tuple[str, ...]
    conversation_id: str | None = None

    @property
    def text(self) -> str:
        return str(self.payload["text"])

    @property
    def user_id(self) -> str:
        return str(self.payload["user"]["id"])

    @property
    def user_name(self) -> str:
        return str(self.payload["user"]["name"] or self.user_id)

    @property
    def channel_id(self) -> str:
        return str(self.payload["channel"]["id"])

    @property
    def response_url(self) -> str | None:
        url: str | None = self.payload["response_url"]
        return url

    @property
    def retried_by_slack(self) -> bool:
        """Slack sends an Events API request again after a failure; commands, clicks and forms it never does."""
        return self.event_type in (EventType.SLACK_MESSAGE, EventType.SLACK_MENTION)

    @property
    def actor(self) -> Actor:
        return Actor(kind="user", id=self.user_id, team=self.payload["team"], via="slack")

    def draft(self, now: datetime, trace_id: str) -> EventDraft:
        """What the store accepts; the event id follows from the identity, so that a repetition has the same."""
        event = Event(
            event_id=derive_id("slack", self.identity),
            event_type=self.event_type.value,
            topic=self.topic,
            timestamp=now,
            trace_id=trace_id,
            actor=self.actor,
            payload=self.payload,
            conversation_id=self.conversation_id,
        )
        return EventDraft(event=event, dedupe_keys=self.dedupe_keys)


def parse_slack_event(raw: Mapping[str, Any], request_id: str) -> SlackEvent | Challenge | Ignored:
    """Raises InvalidInputError for a request of a known type that lacks what every such request has.

    `request_id` (the signature: the same for a replay, another for another request) identifies a command or click
    that comes without Slack's `trigger_id`.
    """
    kind = text_at(raw, "type")
    if not kind and "command" in raw:
        return _command(raw, request_id)
    match kind:
        case "url_verification":
            return Challenge(challenge=_required(raw, "challenge"))
        case "event_callback":
            return _event_callback(raw)
        case "block_actions":
            return _block_action(raw, request_id)
        case "view_submission":
            return _view_submission(raw)
        case "":
            raise InvalidInputError("neither an event, a command nor an interaction: there is no type", field="type")
        case _:
            return Ignored(reason=f"requests of type {kind[:60]} are not used")


def topic_word(name: str) -> str:
    """One word of a topic: a dot would make two, so it and what Slack does not use become underscores."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:100] or "_"


def _command(raw: Mapping[str, Any], request_id: str) -> SlackEvent:
    command = _required(raw, "command")
    identity = _trigger_key(raw, request_id)
    return SlackEvent(
        event_type=EventType.SLACK_COMMAND,
        topic=f"slack.events.command.{topic_word(command.removeprefix('/').lower())}",
        payload=_payload(
            raw_type="slash_command",
            text=_plain(text_at(raw, "text")),
            user=(text_at(raw, "user_id"), text_at(raw, "user_name")),
            team=text_at(raw, "team_id"),
            channel=(text_at(raw, "channel_id"), text_at(raw, "channel_name")),
            command=command,
            response_url=text_at(raw, "response_url") or None,
            trigger_id=text_at(raw, "trigger_id") or None,
        ),
        identity=identity,
        dedupe_keys=(identity,),
    )


def _event_callback(raw: Mapping[str, Any]) -> SlackEvent | Ignored:
    inner = object_at(raw, "event")
    kind, subtype = text_at(inner, "type"), text_at(inner, "subtype")
    bots = {text_at(item, "user_id") for item in objects_at(raw, "authorizations")} - {""}
    if kind not in ("message", "app_mention"):
        return Ignored(reason=f"events of type {kind[:60]} are not used")
    if inner.get("bot_id") or text_at(inner, "user") in bots:
        return Ignored(reason="the message is a bot's")
    if subtype not in _MESSAGE_SUBTYPES or inner.get("hidden"):
        return Ignored(reason=f"messages of subtype {subtype[:60]} are not used")
    team = text_at(raw, "team_id") or text_at(inner, "team")
    channel, ts = _required(inner, "channel"), _required(inner, "ts")
    thread = text_at(inner, "thread_ts") or ts
    identity = _bounded_key(f"slack:{team}:{channel}:{ts}")
    event_id = text_at(raw, "event_id")
    mention = kind == "app_mention"
    channel_type = text_at(inner, "channel_type") or _CHANNEL_TYPES.get(channel[:1], "channel")
    text, named = _without_mention(text_at(inner, "text"), bots, mention)
    return SlackEvent(
        event_type=EventType.SLACK_MENTION if mention else EventType.SLACK_MESSAGE,
        topic="slack.events.mention" if mention else f"slack.events.message.{topic_word(channel_type)}",
        payload=_payload(
            raw_type=kind,
            text=_plain(text),
            user=(text_at(inner, "user"), text_at(inner, "username")),
            team=team,
            channel=(channel, ""),
            ts=ts,
            thread_ts=text_at(inner, "thread_ts") or None,
            mentions_bot=named,
        ),
        identity=identity,
        dedupe_keys=(identity, _bounded_key(f"slack:event:{event_id}")) if event_id else (identity,),
        conversation_id=_bounded_key(f"slack:{team}:{channel}:{thread}", longest=200),
    )


def _block_action(raw: Mapping[str, Any], request_id: str) -> SlackEvent | Ignored:
    actions = objects_at(raw, "actions")
    if not actions:
        return Ignored(reason="an interaction without an action")
    action = actions[0]
    action_id = _required(action, "action_id")
    channel = (
        text_at(raw, "channel", "id") or text_at(raw, "container", "channel_id"),
        text_at(raw, "channel", "name"),
    )
    team = _team(raw)
    ts = text_at(raw, "message", "ts") or text_at(raw, "container", "message_ts")
    thread_ts = text_at(raw, "message", "thread_ts") or text_at(raw, "container", "thread_ts")
    identity = _trigger_key(raw, request_id)
    word = ANSWER_ACTION if _OWN_ACTION.fullmatch(action_id) else action_id
    value = _action_value(action)
    return SlackEvent(
        event_type=EventType.SLACK_ACTION,
        topic=f"slack.events.action.{topic_word(word)}",
        payload=_payload(
            raw_type="block_actions",
            text=value,
            user=_user(raw),
            team=team,
            channel=channel,
            ts=ts or None,
            thread_ts=thread_ts or None,
            response_url=text_at(raw, "response_url") or None,
            trigger_id=text_at(raw, "trigger_id") or None,
            action={"action_id": action_id, "block_id": text_at(action, "block_id"), "value": value},
        ),
        identity=identity,
        dedupe_keys=(identity,),
        conversation_id=_bounded_key(f"slack:{team}:{channel[0]}:{thread_ts or ts}", longest=200) if ts else None,
    )


def _view_submission(raw: Mapping[str, Any]) -> SlackEvent:
    view = object_at(raw, "view")
    values = _view_values(view)
    callback_id = text_at(view, "callback_id")
    entered = [value for fields in values.values() for value in fields.values() if value]
    state = hashlib.sha256(repr(values).encode()).hexdigest()[:16]
    # The state is part of the key: a form that was refused and corrected has the same id and hash and is a new answer.
    identity = _bounded_key(f"slack:view:{_required(view, 'id')}:{text_at(view, 'hash')}:{state}")
    trigger_id = text_at(raw, "trigger_id")
    response_urls = objects_at(raw, "response_urls")
    return SlackEvent(
        event_type=EventType.SLACK_VIEW,
        topic=f"slack.events.view.{topic_word(callback_id)}",
        payload=_payload(
            raw_type="view_submission",
            text="\n".join(entered),
            user=_user(raw),
            team=_team(raw),
            channel=(text_at(response_urls[0], "channel_id") if response_urls else "", ""),
            response_url=(text_at(response_urls[0], "response_url") or None) if response_urls else None,
            trigger_id=trigger_id or None,
            view={
                "id": text_at(view, "id"),
                "callback_id": callback_id,
                "private_metadata": text_at(view, "private_metadata"),
                "values": values,
            },
        ),
        identity=identity,
        dedupe_keys=(identity, _bounded_key(f"slack:trigger:{trigger_id}")) if trigger_id else (identity,),
    )


def _payload(
    *,
    raw_type: str,
    text: str,
    user: tuple[str, str],
    team: str,
    channel: tuple[str, str],
    ts: str | None = None,
    thread_ts: str | None = None,
    command: str | None = None,
    response_url: str | None = None,
    trigger_id: str | None = None,
    action: dict[str, Any] | None = None,
    view: dict[str, Any] | None = None,
    mentions_bot: bool = False,
) -> dict[str, Any]:
    return {
        "text": text,
        "user": {"id": user[0], "name": user[1]},
        "team": team,
        "channel": {"id": channel[0], "name": channel[1]},
        "thread_ts": thread_ts,
        "ts": ts,
        "command": command,
        "response_url": response_url,
        "trigger_id": trigger_id,
        "action": action,
        "view": view,
        "raw_type": raw_type,
        "mentions_bot": mentions_bot,
    }


def _without_mention(text: str, bots: set[str], mention: bool) -> tuple[str, bool]:
    """The text without a leading mention of the bot, and whether it names the bot anywhere."""
    named = mention or any(f"<@{bot}>" in text or f"<@{bot}|" in text for bot in bots)
    leading = _LEADING_MENTION.match(text)
    if named and leading is not None and (leading[1] in bots or (mention and not bots)):
        text = text[leading.end() :]
    return text, named


def _plain(text: str) -> str:
    """Slack escapes &, < and > in what people typed."""
    return html.unescape(text) if "&" in text else text


def _action_value(action: Mapping[str, Any]) -> str:
    """What was chosen, whatever kind of element it was; several choices are joined by commas."""
    many = objects_at(action, "selected_options")
    if many:
        return ",".join(text_at(option, "value") for option in many)
    chosen = (
        text_at(action, "value"),
        text_at(action, "selected_option", "value"),
        *(text_at(action, f"selected_{kind}") for kind in ("user", "channel", "conversation", "date", "time")),
    )
    return next((value for value in chosen if value), "")


def _view_values(view: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The form's fields: block id → action id → what was entered."""
    return {
        clean(block_id): {
            clean(action_id): _action_value(element)
            for action_id, element in fields.items()
            if isinstance(element, dict)
        }
        for block_id, fields in object_at(view, "state", "values").items()
        if isinstance(fields, dict)
    }


def _user(raw: Mapping[str, Any]) -> tuple[str, str]:
    name = text_at(raw, "user", "username") or text_at(raw, "user", "name")
    return text_at(raw, "user", "id"), name


def _team(raw: Mapping[str, Any]) -> str:
    return text_at(raw, "team", "id") or text_at(raw, "user", "team_id")


def _trigger_key(raw: Mapping[str, Any], request_id: str) -> str:
    trigger_id = text_at(raw, "trigger_id")
    return _bounded_key(f"slack:trigger:{trigger_id}" if trigger_id else f"slack:request:{request_id}")


def _required(source: Mapping[str, Any], name: str) -> str:
    value = text_at(source, name)
    if not value:
        raise InvalidInputError(f"the request has no {name}", field=name)
    return value


def _bounded_key(key: str, longest: int = 300) -> str:
    """A key that fits its column, whatever was sent as an id."""
    return key if len(key) <= longest else f"slack:digest:{hashlib.sha256(key.encode()).hexdigest()}"
