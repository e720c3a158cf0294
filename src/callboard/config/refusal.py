"""What a validator of the agent file says: what is wrong, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic_core import PydanticCustomError

REFUSAL = "refusal"


def refuse(message: str, hint: str = "") -> PydanticCustomError:
    """The error to raise in a validator; `message` names the value, `hint` the way out."""
    return PydanticCustomError(REFUSAL, "{message}", {"message": message, "hint": hint})


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, if there is one."""
    choices = list(known)
    found = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    return found[0] if found else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """The hint for a word that is not among the known ones."""
    choices = list(known)
    close = nearest(word, choices)
    return f"did you mean '{close}'?" if close else "known: " + ", ".join(choices) if choices else ""
