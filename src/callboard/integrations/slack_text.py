"""Text from models, tools and people, made harmless and short enough for Slack; pure.

Slack reads `&`, `<` and `>` as markup: `<!channel>` pings a whole channel, `<@U1>` a person, `<https://a|b>` hides
where a link goes. Escaped, they are shown as they are. Control characters, terminal escapes and the characters that
turn the direction of writing around are removed.
"""

from __future__ import annotations

import re

_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_REMOVED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_ENTITY_CUT = re.compile(r"&[a-z]{0,3}$")


def harmless(text: str) -> str:
    """Without control characters (line breaks and tabs stay), terminal escapes, bidi marks and lone surrogates."""
    return _REMOVED.sub("", _TERMINAL.sub("", text.replace("\r\n", "\n")))


def escape(text: str) -> str:
    """Harmless, and with Slack's markup shown instead of obeyed."""
    return harmless(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters; what is cut is shown by an ellipsis. Never cuts inside an entity."""
    if len(text) <= limit:
        return text
    return _ENTITY_CUT.sub("", text[: limit - 1]) + "…"


def split(escaped: str, limit: int) -> list[str]:
    """Pieces of at most `limit` characters that together are the text: cut at a line's end, else a space, else hard.

    White space at a cut is dropped, an entity is never cut.
    """
    pieces: list[str] = []
    rest = escaped
    while len(rest) > limit:
        cut = _cut(rest, limit)
        pieces.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip("\n ")
    pieces.append(rest)
    return [piece for piece in pieces if piece.strip()]


def _cut(text: str, limit: int) -> int:
    head = text[: limit + 1]
    for separator in ("\n", " "):
        at = head.rfind(separator)
        if at > limit // 2:
            return at
    return limit - len(text[:limit]) + len(_ENTITY_CUT.sub("", text[:limit]))
