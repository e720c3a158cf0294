"""Identifiers: random ones through a port, derived ones as pure functions."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from typing import Protocol


class Ids(Protocol):
    """Where new identifiers come from; 32 lower-case hexadecimal characters, never all zero."""

    def new(self) -> str: ...


class RandomIds:
    """128 random bits, which is also what a W3C trace id wants."""

    def new(self) -> str:
        return secrets.token_hex(16)


class SequentialIds:
    """1, 2, 3 … for tests that want to read their identifiers."""

    def __init__(self) -> None:
        self._next = itertools.count(1)

    def new(self) -> str:
        return f"{next(self._next):032x}"


def derive_id(*parts: str | int) -> str:
    """The same parts give the same identifier, on every machine and in every release (DESIGN.md, R2 and R3).

    Each part is preceded by its length, so that ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.sha256()
    for part in parts:
        text = str(part).encode()
        digest.update(b"%d:" % len(text))
        digest.update(text)
    return digest.hexdigest()[:32]


def fraction(identifier: str) -> float:
    """An identifier as a number in [0, 1): random ones are spread evenly, so jitter needs no other source of chance."""
    return int(identifier[:13], 16) / 16**13
