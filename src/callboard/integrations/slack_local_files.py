"""Files in the local Slack: a place for the bytes, the bytes, and then the message that shows them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from callboard.ids import Ids, RandomIds
from callboard.integrations.slack_local_limits import SlackRefusal

MAX_BYTES = 1_000_000_000
"""Slack: up to 1 GB a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A file; `body` is None until its bytes have come, and nobody sees it before it is `shown`."""

    id: str
    name: str
    size_bytes: int
    title: str = ""
    body: bytes | None = None
    shown: bool = False

    def as_slack(self) -> dict[str, Any]:
        """As it stands in a message of a channel's history."""
        return {"id": self.id, "name": self.name, "title": self.title, "size": self.size_bytes}


@dataclass(slots=True)
class LocalFiles:
    """Every file, by the token of the URL for its bytes. `url` is the address that such a token is put behind, `place`
    what is named instead of that."""

    url: str = ""
    place: str | None = None
    files: dict[str, LocalFile] = field(default_factory=dict)
    ids: Ids = field(default_factory=RandomIds)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def name_place(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Where the bytes of a new file are to go. Raises SlackRefusal."""
        name, length = str(arguments.get("filename") or ""), str(arguments.get("length") or "")
        if not name or not length.isdecimal() or not 0 < int(length) <= MAX_BYTES:
            # That is what Slack calls a length of 0.
            raise SlackRefusal("missing_argument")
        token = self.ids.new()
        self.files[token] = LocalFile(id=f"F{next(self._numbers):08d}", name=name, size_bytes=int(length))
        return {"upload_url": self.place or f"{self.url}/{token}", "file_id": self.files[token].id}

    def take(self, token: str, body: bytes) -> None:
        """The bytes. Raises SlackRefusal for an unknown place, or another length than was said."""
        file = self.files.get(token)
        if file is None or file.shown:
            raise SlackRefusal("file_not_found")
        if len(body) != file.size_bytes:
            raise SlackRefusal("wrong_length")
        self.files[token] = replace(file, body=body)

    def complete(self, wanted: Any) -> tuple[LocalFile, ...]:
        """The files of one message. Raises SlackRefusal; each can be shown once only, after its bytes have come."""
        entries = _entries(wanted)
        by_id = {file.id: (token, file) for token, file in self.files.items()}
        found = []
        for entry in entries:
            token, file = by_id.get(str(entry.get("id")), ("", None))
            if file is None or file.body is None or file.shown:
                raise SlackRefusal("file_not_found")
            found.append((token, replace(file, shown=True, title=str(entry.get("title") or file.name))))
        self.files.update(found)
        return tuple(file for _, file in found)


def _entries(wanted: Any) -> list[Mapping[str, Any]]:
    """A list, or the JSON of one, as forms have it."""
    try:
        entries = orjson.loads(wanted) if isinstance(wanted, str) else wanted
    except orjson.JSONDecodeError:
        raise SlackRefusal("invalid_arguments") from None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise SlackRefusal("invalid_arguments")
    return entries
