"""The names under which a model sees the tools of MCP servers: `<server>__<tool>`; pure.

Every provider takes names of 1 to 64 letters, digits, `_` and `-`. A label never holds `__` nor ends with `_`, so the
first `__` of a name ends the label: tools of two servers cannot share a name.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

SEPARATOR = "__"
MAX_NAME_CHARS = 64
_OUTSIDE_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_DIGEST_CHARS = 8


def model_name(label: str, tool: str) -> str:
    """A name that had to be changed or cut carries a piece of its digest, so that two such names stay two."""
    room = MAX_NAME_CHARS - len(label) - len(SEPARATOR)
    plain = _OUTSIDE_NAME.sub("_", tool)
    if plain != tool or len(plain) > room or not plain:
        digest = hashlib.sha256(tool.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]
        plain = f"{plain[: room - _DIGEST_CHARS - 1]}_{digest}"
    return f"{label}{SEPARATOR}{plain}"


def doubled(names: Sequence[str]) -> frozenset[str]:
    """Names that stand more than once in a list: nobody could say which of them is meant."""
    return frozenset(name for name, times in Counter(names).items() if times > 1)
