"""Text from models and tools, made fit to be stored and sent on."""

from __future__ import annotations


def storable(text: str) -> str:
    """The text with every lone surrogate, which UTF-8 cannot carry, replaced by a question mark."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def size_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def shortened(text: str, max_bytes: int) -> str:
    """At most that many bytes of the text, with a line that says so where something was left out."""
    data = storable(text).encode()
    if len(data) <= max_bytes:
        return storable(text)
    kept = data[:max_bytes].decode("utf-8", "ignore")
    return f"{kept}\n[cut: the first {max_bytes} of {len(data)} bytes]"


def clipped(text: str, max_chars: int) -> str:
    """Storable, and at most that many characters, the last one an ellipsis where something was left out."""
    short = text if len(text) <= max_chars else text[: max_chars - 1] + "…"
    return storable(short)
