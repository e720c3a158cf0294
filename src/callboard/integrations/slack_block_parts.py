"""Slack's blocks and their limits; pure.

Slack refuses a message that breaks one of its limits as a whole (`invalid_blocks`), so every limit is kept here.
"""

from __future__ import annotations

from typing import Any

from callboard.integrations.slack_text import escape, harmless, shorten, split

MAX_BLOCKS = 50
MAX_SECTION = 3000
MAX_HEADER = 150
MAX_TEXT = 40_000
MAX_BUTTON_TEXT = 75
MAX_BUTTON_VALUE = 2000
MAX_ACTIONS = 25

_SHORTENED = "_… shortened: {missing} more characters. `callboard runs show {run_id}` shows all of it._"


def header(title: str) -> list[dict[str, Any]]:
    shown = shorten(harmless(title).strip(), MAX_HEADER)
    return [{"type": "header", "text": plain(shown)}] if shown else []


def sections(text: str, run_id: str = "") -> list[dict[str, Any]]:
    """The escaped text as sections; what does not fit into one message is cut, and said."""
    pieces = split(text, MAX_SECTION)
    kept: list[str] = []
    room = MAX_TEXT - 2 * MAX_SECTION
    for piece in pieces:
        if len(piece) > room:
            break
        kept.append(piece)
        room -= len(piece)
    missing = sum(len(piece) for piece in pieces[len(kept) :])
    blocks = [section(piece) for piece in kept]
    if missing:
        blocks.append(section(_SHORTENED.format(missing=missing, run_id=run_id or "RUN_ID")))
    return blocks


def section(text: str) -> dict[str, Any]:
    """`verbatim` keeps Slack from turning channel names and URLs in the text into links of its own."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def code(text: str, limit: int) -> tuple[dict[str, Any], int]:
    """The beginning of a text as a block of code, which nothing in it can end; and how much is missing of it."""
    whole = escape(text).replace("`", "\u02cb")
    room = min(limit, MAX_SECTION) - 8
    shown = shorten(whole, room)
    return section(f"```\n{shown}\n```"), 0 if shown == whole else len(whole) - len(shown) + 1


def context(text: str, *, block_id: str | None = None) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": True}]}
    return {**block, "block_id": block_id} if block_id else block


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": True}
