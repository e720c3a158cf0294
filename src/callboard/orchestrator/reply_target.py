"""Where the answer to an event goes: pure."""

from __future__ import annotations

from typing import Any

from callboard.messaging import topology
from callboard.messaging.events import Event
from callboard.messaging.reply import ReplyMode, ReplyTo


def reply_target(event: Event, mode: ReplyMode) -> ReplyTo | None:
    """The Slack place of the event's origin, a schedule's `deliver_to`, or where the run that is tried again answered.

    None where nobody waits in a channel.
    """
    if event.topic.startswith("slack."):
        return ReplyTo.from_slack(event.payload, mode, event.timestamp)
    repeated = event.payload.get("reply_to")
    if event.topic.startswith(topology.API_INVOKE) and isinstance(repeated, dict):
        return ReplyTo.from_record(repeated)
    channel = event.payload.get("deliver_to")
    if event.topic.startswith(topology.SCHEDULED) and isinstance(channel, str):
        return ReplyTo(channel=channel, mode="channel")
    return None


def thread_of(event: Event) -> str | None:
    """The name of the Slack thread that a message belongs to; a first message begins the thread it may get."""
    if not event.topic.startswith("slack."):
        return None
    channel = _id(event.payload.get("channel"))
    ts = event.payload.get("thread_ts") or event.payload.get("ts")
    if channel is None or not isinstance(ts, str):
        return None
    return f"{event.payload.get('team') or ''}:{channel}:{ts}"


def _id(record: Any) -> str | None:
    value = record.get("id") if isinstance(record, dict) else None
    return value if isinstance(value, str) and value else None
