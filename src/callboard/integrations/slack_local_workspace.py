"""A workspace of Slack's in memory: what the Web API's methods do to it, without any HTTP.

It keeps Slack's limits, so that a message that Slack would refuse is refused here too.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from callboard.clock import Clock
from callboard.ids import Ids, RandomIds
from callboard.integrations.slack_local_files import LocalFile, LocalFiles
from callboard.integrations.slack_local_limits import SlackRefusal, check_content, check_view
from callboard.integrations.slack_manifest import BOT_SCOPES
from callboard.integrations.slack_response_url import MAX_USES
from callboard.messaging.reply import RESPONSE_URL_LIFE

TEAM = "T0LOCAL"
BOT_USER = "U0CALLBOARD"
PAGE = 200
_CONVERSATION = re.compile(r"[CGDZ][A-Z0-9_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMessage:
    """A message as people see it; `visible_to` is the only one who does, when it is ephemeral."""

    channel: str
    ts: str
    text: str
    blocks: tuple[dict[str, Any], ...]
    via: str
    thread_ts: str | None = None
    visible_to: str | None = None
    metadata: dict[str, Any] | None = None
    client_msg_id: str | None = None
    edits: int = 0
    response_token: str | None = None
    files: tuple[LocalFile, ...] = ()

    @property
    def buttons(self) -> list[dict[str, Any]]:
        """Every button, in order."""
        return [
            element
            for block in self.blocks
            if block.get("type") == "actions"
            for element in block.get("elements", ())
            if element.get("type") == "button"
        ]

    @property
    def shown(self) -> str:
        """The words of all blocks, a line each; without blocks the text."""
        lines = [words for block in self.blocks for words in _words(block)]
        lines += [f"[file {file.name}, {file.size_bytes} bytes]" for file in self.files]
        return "\n".join(lines) or self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseAddress:
    """What a response URL leads to."""

    token: str
    channel: str
    user: str
    expires_at: datetime
    message_ts: str | None = None
    uses: int = 0


@dataclass(slots=True)
class LocalWorkspace:
    """Everything that was posted. `accepts` says whether a channel can be posted to (default: every one); `groups` are
    the user groups with the ids of their members, `scopes` those of the bot token."""

    clock: Clock
    messages: list[LocalMessage] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    addresses: dict[str, ResponseAddress] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    accepts: Callable[[str], bool] = lambda channel: True
    ids: Ids = field(default_factory=RandomIds)
    files: LocalFiles = field(default_factory=LocalFiles)
    scopes: frozenset[str] = frozenset(BOT_SCOPES)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def call(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a successful answer, `ok` left out. Raises SlackRefusal."""
        match method:
            case "chat.postMessage":
                return self._post(arguments, ephemeral=False)
            case "chat.postEphemeral":
                return self._post(arguments, ephemeral=True)
            case "chat.update":
                return self._update(arguments)
            case "conversations.history" | "conversations.replies":
                return self._history(arguments)
            case "views.open":
                return self._open_view(arguments)
            case "usergroups.users.list":
                return self._group(arguments)
            case "files.getUploadURLExternal":
                return self._allowed("files:write").files.name_place(arguments)
            case "files.completeUploadExternal":
                return self._allowed("files:write")._show_files(arguments)
            case "auth.test" | "api.test":
                return {"team": "Local", "team_id": TEAM, "user": "callboard", "user_id": BOT_USER, "bot_id": "B0LOCAL"}
            case _:
                raise SlackRefusal("unknown_method")

    def new_address(self, channel: str, user: str, *, message_ts: str | None = None) -> ResponseAddress:
        """Where answers to one command or click may be posted."""
        address = ResponseAddress(
            # Unlike any of an earlier workspace at the same port: who answers counts the uses of each.
            token=self.ids.new(),
            channel=channel,
            user=user,
            message_ts=message_ts,
            expires_at=self.clock.now() + RESPONSE_URL_LIFE,
        )
        self.addresses[address.token] = address
        return address

    def respond(self, token: str, arguments: Mapping[str, Any]) -> None:
        """A message to a response URL. Raises SlackRefusal for one that is unknown, used up or too old."""
        address = self.addresses.get(token)
        if address is None or self.clock.now() >= address.expires_at:
            raise SlackRefusal("expired_url")
        if address.uses >= MAX_USES:
            raise SlackRefusal("used_url")
        self.addresses[token] = replace(address, uses=address.uses + 1)
        if arguments.get("replace_original") and address.message_ts:
            self._update({**arguments, "channel": address.channel, "ts": address.message_ts})
            return
        self._add(
            arguments,
            channel=address.channel,
            via="response_url",
            visible_to=None if arguments.get("response_type") == "in_channel" else address.user,
            response_token=token,
        )

    def find(self, channel: str, ts: str) -> LocalMessage:
        """Raises SlackRefusal where there is no such message."""
        for message in self.messages:
            if (message.channel, message.ts) == (channel, ts):
                return message
        raise SlackRefusal("message_not_found")

    def new_ts(self) -> str:
        """A message's id: Slack's are seconds with six decimals, unique in a channel and growing."""
        return f"{int(self.clock.now().timestamp())}.{next(self._numbers):06d}"

    def _post(self, arguments: Mapping[str, Any], *, ephemeral: bool) -> dict[str, Any]:
        channel = channel_id(str(arguments.get("channel", "")))
        if not channel or not self.accepts(channel):
            raise SlackRefusal("channel_not_found")
        if ephemeral and not arguments.get("user"):
            raise SlackRefusal("user_not_in_channel")
        message = self._add(
            arguments,
            channel=channel,
            via="chat.postEphemeral" if ephemeral else "chat.postMessage",
            visible_to=str(arguments["user"]) if ephemeral else None,
        )
        if ephemeral:
            return {"message_ts": message.ts}
        return {"channel": channel, "ts": message.ts, "message": _as_slack(message)}

    def _add(
        self,
        arguments: Mapping[str, Any],
        *,
        channel: str,
        via: str,
        visible_to: str | None,
        response_token: str | None = None,
    ) -> LocalMessage:
        check_content(arguments)
        message = LocalMessage(
            channel=channel,
            ts=self.new_ts(),
            text=str(arguments.get("text", "")),
            blocks=tuple(arguments.get("blocks") or ()),
            via=via,
            thread_ts=arguments.get("thread_ts"),
            visible_to=visible_to,
            metadata=arguments.get("metadata"),
            client_msg_id=arguments.get("client_msg_id"),
            response_token=response_token,
        )
        self.messages.append(message)
        return message

    def _update(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        # Unlike a message, an edit needs the channel's id.
        before = self.find(str(arguments.get("channel", "")), str(arguments.get("ts", "")))
        check_content(arguments)
        after = replace(
            before,
            text=str(arguments.get("text", "")),
            blocks=tuple(arguments.get("blocks") or ()),
            edits=before.edits + 1,
        )
        self.messages[self.messages.index(before)] = after
        return {"channel": after.channel, "ts": after.ts, "text": after.text}

    def _history(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Newest first for a channel, oldest first for a thread, as Slack does it."""
        channel, thread = channel_id(str(arguments.get("channel", ""))), arguments.get("ts")
        if not channel or not self.accepts(channel):
            raise SlackRefusal("channel_not_found")
        oldest = float(arguments.get("oldest") or 0)
        found = [
            _as_slack(message)
            for message in self.messages
            if message.channel == channel
            and message.visible_to is None
            and float(message.ts) >= oldest
            and (thread in (message.thread_ts, message.ts) if thread else message.thread_ts is None)
        ]
        if not thread:
            found.reverse()
        limit = min(int(arguments.get("limit") or 100), PAGE)
        start = int(arguments.get("cursor") or 0)
        page: dict[str, Any] = {"messages": found[start : start + limit], "has_more": len(found) > start + limit}
        if page["has_more"]:
            page["response_metadata"] = {"next_cursor": str(start + limit)}
        return page

    def _show_files(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Unlike a message, a file needs the conversation's id, and the app as its member."""
        channel = str(arguments.get("channel_id", ""))
        if _CONVERSATION.fullmatch(channel) is None:
            raise SlackRefusal("invalid_arguments")
        if not self.accepts(channel):
            raise SlackRefusal("channel_not_found")
        shown = self.files.complete(arguments.get("files"))
        message = LocalMessage(
            channel=channel,
            ts=self.new_ts(),
            text=str(arguments.get("initial_comment") or ""),
            blocks=(),
            via="files.completeUploadExternal",
            thread_ts=arguments.get("thread_ts") or None,
            files=shown,
        )
        self.messages.append(message)
        return {"files": [{"id": file.id, "title": file.title} for file in shown]}

    def _allowed(self, scope: str) -> Self:
        if scope not in self.scopes:
            raise SlackRefusal("missing_scope")
        return self

    def _open_view(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if not arguments.get("trigger_id"):
            raise SlackRefusal("invalid_trigger")
        view = {**dict(arguments.get("view") or {}), "id": f"V{next(self._numbers):08d}", "hash": "1.local"}
        check_view(view)
        self.views.append(view)
        return {"view": view}

    def _group(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        members = self.groups.get(str(arguments.get("usergroup", "")))
        if members is None:
            raise SlackRefusal("no_such_subteam")
        return {"users": list(members)}


def channel_id(channel: str) -> str:
    """A name's channel: `#eng` is C_ENG; a person's channel is their direct messages."""
    if channel.startswith("#"):
        return "C_" + channel[1:].upper()
    return "D" + channel[1:] if channel.startswith("U") else channel


def _as_slack(message: LocalMessage) -> dict[str, Any]:
    return {
        "type": "message",
        "user": BOT_USER,
        "bot_id": "B0LOCAL",
        "ts": message.ts,
        "text": message.text,
        "blocks": list(message.blocks),
        **({"thread_ts": message.thread_ts} if message.thread_ts else {}),
        **({"metadata": message.metadata} if message.metadata else {}),
        **({"client_msg_id": message.client_msg_id} if message.client_msg_id else {}),
        **({"files": [file.as_slack() for file in message.files]} if message.files else {}),
    }


def _words(block: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    if isinstance(block.get("text"), Mapping):
        found.append(str(block["text"].get("text", "")))
    for element in block.get("elements", ()):
        inner = element.get("text")
        words = str(inner.get("text", "")) if isinstance(inner, Mapping) else str(inner or "")
        found.append(f"[{words}]" if element.get("type") == "button" else words)
    return [words for words in found if words]
