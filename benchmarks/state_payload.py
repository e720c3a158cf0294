"""A conversation of so many bytes: the same one for the product and for its peer."""

from __future__ import annotations

import hashlib

LINE = "The deployment of service {name} finished after {number} s; the build was {digest}, nobody had to step in."


def messages(size: int, number: int) -> list[dict[str, str]]:
    """Messages that hold about `size` bytes as JSON, different in each version, as compressible as log lines are."""
    found: list[dict[str, str]] = []
    held = 0
    while held < size:
        digest = hashlib.sha256(f"{number}.{len(found)}".encode()).hexdigest()
        text = LINE.format(name=f"s{len(found) % 97}", number=len(found), digest=digest)
        text = text[: max(1, size - held - 40)]
        found.append({"role": "assistant" if len(found) % 2 else "user", "content": text})
        held += len(text) + 40
    return found
