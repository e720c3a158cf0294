"""Where an answer goes: the address that an event carries and a delivery keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from callboard.errors import InvalidInputError

ReplyMode = Literal["thread", "channel", "ephemeral"]
MODES: tuple[ReplyMode, ...] = ("thread", "channel", "ephemeral")
RESPONSE_URL_LIFE = timedelta(minutes=30)
"""How long Slack takes messages at a response URL, from the command or click on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyTo:
    """The place of one conversation partner.

    `channel` and `user` are Slack ids (a channel may also be a `#name`), `thread_ts` the thread's first message.
    `response_url` is a short-lived address that Slack gave with a command or a click: at most 5 uses, until
    `expires_at`. `mode` is what the agent's file asks for (`slack.reply`): an answer in the thread, in the
    channel, or seen by `user` alone.
    """

    via: Literal["slack"] = "slack"
    channel: str | None = None
    thread_ts: str | None = None
    response_url: str | None = None
    user: str | None = None
    mode: ReplyMode = "thread"
    team: str | None = None
    expires_at: datetime | None = None

    @property
    def prefers_response_url(self) -> bool:
        """Commands and private answers go back where they came from; a thread is reached through the channel."""
        return self.response_url is not None and (self.mode == "ephemeral" or self.thread_ts is None)

    @property
    def order_key(self) -> str:
        """Messages of one key are sent in the order they were planned; different keys never wait for each other."""
        if self.prefers_response_url:
            return self._url_key()
        return _bounded(f"{self._channel_key()}:{self.thread_ts or ''}")

    @property
    def pace_key(self) -> str:
        """What Slack's rate limit of about one message a second counts: the channel, or one response URL."""
        return self._url_key() if self.prefers_response_url else self.channel_pace_key

    @property
    def channel_pace_key(self) -> str:
        """The pace key once a response URL can no longer be used."""
        return _bounded(self._channel_key())

    def to_record(self) -> dict[str, Any]:
        """The JSON form; absent parts are left out."""
        fields = {
            "via": self.via,
            "channel": self.channel,
            "thread_ts": self.thread_ts,
            "response_url": self.response_url,
            "user": self.user,
            "mode": self.mode,
            "team": self.team,
            "expires_at": self.expires_at.astimezone(UTC).isoformat() if self.expires_at else None,
        }
        return {name: value for name, value in fields.items() if value is not None}

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> ReplyTo:
        """The inverse of `to_record`; unknown parts are ignored, so that an older release reads a newer row."""
        expires_at = record.get("expires_at")
        return ReplyTo(
            channel=record.get("channel"),
            thread_ts=record.get("thread_ts"),
            response_url=record.get("response_url"),
            user=record.get("user"),
            mode=_mode(record.get("mode", "thread")),
            team=record.get("team"),
            expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
        )

    @staticmethod
    def from_slack(payload: Mapping[str, Any], mode: str, at: datetime) -> ReplyTo:
        """Where an answer to a Slack event goes, from its payload; `at` is the event's timestamp.

        In mode `thread` a message is answered under itself, or in the thread it stands in; a command has no message
        and is answered in the channel.
        """
        response_url = payload.get("response_url")
        return ReplyTo(
            channel=(payload.get("channel") or {}).get("id"),
            thread_ts=(payload.get("thread_ts") or payload.get("ts")) if mode == "thread" else None,
            response_url=response_url,
            user=(payload.get("user") or {}).get("id"),
            mode=_mode(mode),
            team=payload.get("team"),
            expires_at=at + RESPONSE_URL_LIFE if response_url else None,
        )

    def _channel_key(self) -> str:
        return f"{self.via}:{self.team or ''}:{self.channel or self.user or ''}"

    def _url_key(self) -> str:
        return f"{self.via}:url:{hashlib.sha256((self.response_url or '').encode()).hexdigest()[:32]}"


def _mode(value: Any) -> ReplyMode:
    for mode in MODES:
        if value == mode:
            return mode
    raise InvalidInputError(f"reply mode {value!r} is unknown; use one of {', '.join(MODES)}", field="mode")


def _bounded(key: str) -> str:
    """A key that fits its column, whatever a client sent as an id."""
    return key if len(key) <= 300 else f"slack:digest:{hashlib.sha256(key.encode()).hexdigest()}"
