"""How a delivery can reach people, and the request that each way takes; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from callboard.integrations.slack_blocks import Message, footer_id
from callboard.integrations.slack_response_url import usable_response_url
from callboard.state.deliveries import Delivery, closing_id

METADATA_TYPE = "callboard_delivery"
_LOOK_BACK = timedelta(minutes=1)
"""Slack's clock and ours differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One request: to the response URL `url`, else a Web API `method`."""

    arguments: dict[str, Any]
    url: str | None = None
    method: str = ""


def routes(delivery: Delivery, message: Message, *, now: datetime, has_token: bool) -> list[Route]:
    """The ways to try, best first; empty where nothing can reach the target."""
    url = _url_route(delivery, message, now)
    api = _api_route(delivery, message) if has_token else None
    ways = (url, api) if delivery.target.prefers_response_url else (api, url)
    return [way for way in ways if way is not None]


def look_up(delivery: Delivery) -> Route | None:
    """The request that shows whether the message is there; None where Slack cannot tell (messages to one person)."""
    target = delivery.target
    if target.channel is None or target.mode == "ephemeral":
        return None
    since = f"{(_first_tried(delivery) - _LOOK_BACK).timestamp():.6f}"
    common = {"channel": target.channel, "oldest": since, "limit": 200, "include_all_metadata": "true"}
    if target.thread_ts is not None:
        return Route(method="conversations.replies", arguments={**common, "ts": target.thread_ts})
    return Route(method="conversations.history", arguments=common)


def find_sent(delivery_id: str, page: Mapping[str, Any]) -> str | None:
    """The `ts` of a delivery's message in one page of a channel's history."""
    messages = page.get("messages")
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, Mapping) and _is_marked(delivery_id, message):
            return str(message.get("ts") or "")
    return None


def find_closed(clarification_id: str, page: Mapping[str, Any]) -> str | None:
    """The `ts` of a message of the question that was closed already, by whoever clicked in it."""
    messages = page.get("messages")
    for message in messages if isinstance(messages, list) else []:
        ts = message.get("ts") if isinstance(message, Mapping) else None
        if isinstance(ts, str) and _is_marked(closing_id(clarification_id, ts), message):
            return ts
    return None


def edited_ts(delivery: Delivery) -> str | None:
    """The message that an edit is of, where it is known."""
    ts = (delivery.body or {}).get("message_ts")
    return ts if isinstance(ts, str) and ts else None


def plain(route: Route) -> Route:
    """The same without blocks, for when Slack does not like them."""
    arguments = {name: value for name, value in route.arguments.items() if name != "blocks"}
    return Route(arguments=arguments, url=route.url, method=route.method)


def _first_tried(delivery: Delivery) -> datetime:
    """An edit looks for a message that is older than itself."""
    since = (delivery.body or {}).get("since")
    return datetime.fromisoformat(since) if isinstance(since, str) else delivery.created_at


def _url_route(delivery: Delivery, message: Message, now: datetime) -> Route | None:
    url = usable_response_url(delivery.target, uses=delivery.url_uses, now=now)
    if url is None:
        return None
    target = delivery.target
    arguments: dict[str, Any] = {
        "response_type": "ephemeral" if target.mode == "ephemeral" else "in_channel",
        "replace_original": delivery.kind == "answered",
        **_content(message),
    }
    if target.thread_ts is not None and delivery.kind != "answered":
        arguments["thread_ts"] = target.thread_ts
    return Route(url=url, arguments=arguments)


def _api_route(delivery: Delivery, message: Message) -> Route | None:
    target = delivery.target
    if delivery.kind == "answered":
        ts = edited_ts(delivery)
        if target.channel is None or not ts:
            return None
        return Route(method="chat.update", arguments={"channel": target.channel, "ts": ts, **_content(message)})
    channel = target.channel or target.user
    if channel is None:
        return None
    arguments: dict[str, Any] = {"channel": channel, **_content(message)}
    if target.thread_ts is not None:
        arguments["thread_ts"] = target.thread_ts
    if target.mode == "ephemeral" and target.channel and target.user:
        return Route(method="chat.postEphemeral", arguments={**arguments, "user": target.user})
    arguments["client_msg_id"] = delivery.client_msg_id
    arguments["metadata"] = {
        "event_type": METADATA_TYPE,
        "event_payload": {"delivery_id": delivery.id, "trace_id": delivery.trace_id},
    }
    return Route(method="chat.postMessage", arguments=arguments)


def _content(message: Message) -> dict[str, Any]:
    """`parse` and `link_names` keep Slack from making mentions and links out of plain words."""
    return {
        "text": message.text,
        "blocks": list(message.blocks),
        "unfurl_links": False,
        "unfurl_media": False,
        "parse": "none",
        "link_names": False,
    }


def _is_marked(delivery_id: str, message: Mapping[str, Any]) -> bool:
    metadata = message.get("metadata")
    payload = metadata.get("event_payload") if isinstance(metadata, Mapping) else None
    if isinstance(payload, Mapping) and payload.get("delivery_id") == delivery_id:
        return True
    blocks = message.get("blocks")
    mark = footer_id(delivery_id)
    return any(isinstance(block, Mapping) and block.get("block_id") == mark for block in blocks or ())
