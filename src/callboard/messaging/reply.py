"""Where an answer goes: the address that an event carries and a delivery keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from callboard.errors import InvalidInputError

ReplyMode = Literal["thread", "channel", "ephemeral"]
MODES: tuple[ReplyMode, ...] = ("thread", "channel", "ephemeral")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyTo:
    """The place of one conversation partner.

    `channel` and `user` are Slack ids (a channel may also be a `#name`), `thread_ts` the thread's first message.
    `response_url` is a short-lived address that Slack gave with a command or a click: at most 5 uses within
    30 minutes of the event. `mode` is what the agent's file asks for (`slack.reply`): an answer in the thread, in the
    channel, or seen by `user` alone.
    """

    via: Literal["slack"] = "slack"
    channel: str | None = None
    thread_ts: str | None = None
    response_url: str | None = None
    user: str | None = None
    mode: ReplyMode = "thread"
    team: str | None = None

    @property
    def order_key(self) -> str:
        """Messages of one key are sent in the order they were planned; different keys never wait for each other."""
        return f"{self.via}:{self.team or ''}:{self.channel or self.user or ''}:{self.thread_ts or ''}"

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
        }
        return {name: value for name, value in fields.items() if value is not None}

    @staticmethod
    def from_record(record: dict[str, Any]) -> ReplyTo:
        """The inverse of `to_record`; unknown parts are ignored, so that an older release reads a newer row."""
        mode = record.get("mode", "thread")
        if mode not in MODES:
            raise InvalidInputError(f"reply mode {mode!r} is unknown; use one of {', '.join(MODES)}", field="mode")
        return ReplyTo(
            channel=record.get("channel"),
            thread_ts=record.get("thread_ts"),
            response_url=record.get("response_url"),
            user=record.get("user"),
            mode=mode,
            team=record.get("team"),
        )
