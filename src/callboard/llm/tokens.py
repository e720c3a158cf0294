"""How many tokens a conversation will be billed as, guessed from above and without any I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from callboard.llm.provider import Message, ToolSpec

CHARS_A_TOKEN = 3.5
"""Words of a Latin alphabet: English takes 4 to 5 characters a token, languages that join their words fewer."""
OTHER_CHARS_A_TOKEN = 2.0
"""Digits, punctuation, and alphabets other than the Latin one."""
WIDE_CHARS_A_TOKEN = 1.5
"""Chinese, Japanese, Korean."""
TOKENS_AN_EMOJI = 3
"""And whatever else stands outside Unicode's first plane."""
TOKENS_A_MESSAGE = 8
"""What a role, its separators and a call's frame take."""

_LATIN = re.compile(r"[A-Za-z\s]+")
_WIDE = re.compile("[\u1100-\u11ff\u2e80-\ud7ff\uf900-\ufaff\ufe30-\uffef]+")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]+")


def estimate_text_tokens(text: str) -> int:
    """Above what tokenizers need for prose, code and JSON; text made to be expensive, such as base64, can pass it."""
    rest = _LATIN.sub("", text)
    latin = len(text) - len(rest)
    astral = wide = 0
    if not rest.isascii():
        without = _ASTRAL.sub("", rest)
        astral = len(rest) - len(without)
        narrow = _WIDE.sub("", without)
        wide = len(without) - len(narrow)
    other = len(rest) - astral - wide
    tokens = latin / CHARS_A_TOKEN + other / OTHER_CHARS_A_TOKEN + wide / WIDE_CHARS_A_TOKEN + astral * TOKENS_AN_EMOJI
    return -int(-tokens // 1)


def estimate_tokens(messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
    """The same for everything that a request sends; 0 for nothing."""
    total = 0
    for message in messages:
        total += TOKENS_A_MESSAGE + estimate_text_tokens(message.content)
        for call in message.tool_calls:
            written = call.malformed or json.dumps(dict(call.arguments), ensure_ascii=False)
            total += TOKENS_A_MESSAGE + estimate_text_tokens(call.name) + estimate_text_tokens(written)
    for tool in tools:
        schema = json.dumps(dict(tool.parameters), ensure_ascii=False)
        total += TOKENS_A_MESSAGE + sum(map(estimate_text_tokens, (tool.name, tool.description, schema)))
    return total
