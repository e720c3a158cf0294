"""What the local Slack refuses: Slack's limits of messages and forms, with Slack's codes; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callboard.integrations.slack_block_parts import (
    MAX_ACTIONS,
    MAX_BLOCKS,
    MAX_BUTTON_TEXT,
    MAX_BUTTON_VALUE,
    MAX_HEADER,
    MAX_SECTION,
    MAX_TEXT,
)

MAX_TITLE = 24
MAX_VIEW_BLOCKS = 100
MAX_METADATA = 3000
MAX_LABEL = 2000
MAX_ENTERED = 3000
MAX_CHOICES = 100


class SlackRefusal(Exception):  # noqa: N818  # Slack answers it, nobody catches it as a failure
    """The method answers `ok: false` with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def check_content(arguments: Mapping[str, Any]) -> None:
    """Raises SlackRefusal with Slack's code for a message that breaks one of its limits."""
    text, blocks = arguments.get("text") or "", arguments.get("blocks") or []
    if not text and not blocks:
        raise SlackRefusal("no_text")
    if len(text) > MAX_TEXT:
        raise SlackRefusal("msg_too_long")
    if len(blocks) > MAX_BLOCKS or not all(_is_valid(block) for block in blocks):
        raise SlackRefusal("invalid_blocks")


def check_view(view: Mapping[str, Any]) -> None:
    """Raises SlackRefusal for a form that breaks one of Slack's limits."""
    blocks = view.get("blocks") or []
    title = (view.get("title") or {}).get("text", "")
    block_ids = [block["block_id"] for block in blocks if "block_id" in block]
    fits = 0 < len(title) <= MAX_TITLE and 0 < len(blocks) <= MAX_VIEW_BLOCKS and len(set(block_ids)) == len(block_ids)
    if not fits or len(view.get("private_metadata", "")) > MAX_METADATA:
        raise SlackRefusal("invalid_arguments")
    if not all(_is_valid(block) and _is_input(block) for block in blocks):
        raise SlackRefusal("invalid_blocks")


def _is_input(block: Mapping[str, Any]) -> bool:
    if block.get("type") != "input":
        return True
    element = block["element"]
    options = element.get("options", ())
    return (
        0 < len(block["label"]["text"]) <= MAX_LABEL
        and len(str(element.get("initial_value", ""))) <= MAX_ENTERED
        and len(options) <= MAX_CHOICES
        and all(0 < len(option["text"]["text"]) <= MAX_BUTTON_TEXT for option in options)
        and element.get("initial_option") in (None, *options)
    )


def _is_valid(block: Mapping[str, Any]) -> bool:
    words = block.get("text", {}).get("text", "") if isinstance(block.get("text"), Mapping) else ""
    elements = block.get("elements", ())
    match block.get("type"):
        case "section":
            return 0 < len(words) <= MAX_SECTION
        case "header":
            return 0 < len(words) <= MAX_HEADER
        case "actions":
            ids = [element.get("action_id") for element in elements]
            return (
                0 < len(elements) <= MAX_ACTIONS
                and len(set(ids)) == len(ids)
                and all(
                    0 < len(element["text"]["text"]) <= MAX_BUTTON_TEXT
                    and len(element.get("value", "")) <= MAX_BUTTON_VALUE
                    for element in elements
                )
            )
        case "context":
            return 0 < len(elements) <= 10
        case kind:
            return kind in ("divider", "image", "input", "markdown", "rich_text")
