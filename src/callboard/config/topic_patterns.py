"""Which topics an agent may subscribe to (DESIGN.md, R26)."""

from __future__ import annotations

import re

from callboard.config.refusal import suggestion

_WORD = re.compile(r"[A-Za-z0-9_-]+|\*|#")
_LONGEST = 255
"""AMQP's limit for a routing key."""

TERMINAL = ("succeeded", "failed", "cancelled", "timed_out")
INTERNAL = frozenset({"run", "agent", "config", "clarification", "collaboration", "callboard"})
"""First words that Callboard uses itself; of these only `agent.output.…` and the ends of runs are for agents."""


def pattern_problem(pattern: str) -> tuple[str, str] | None:
    """(what is wrong, what to write instead) of a subscription; None where it is allowed."""
    words = pattern.split(".")
    if len(pattern) > _LONGEST:
        return f"a topic pattern of {len(pattern)} characters", f"at most {_LONGEST}"
    if not all(_WORD.fullmatch(word) for word in words):
        return (
            f"'{pattern}' is no topic pattern",
            "words of letters, digits, _ and - joined by dots; * stands for one word, # for any number",
        )
    if words[0] in ("#", "*"):
        return (
            f"'{pattern}' would subscribe to everything, Callboard's own traffic included",
            "name the family first, such as slack.#, scheduled.#, api.# or agent.output.#",
        )
    if words[0] == "run":
        return _run_problem(pattern, words)
    if words[0] == "agent" and words[1:2] != ["output"]:
        return f"'{pattern}' is internal to Callboard", "of agent.… only agent.output.<agent> can be subscribed to"
    if words[0] in INTERNAL - {"run", "agent"}:
        return (
            f"'{pattern}' is internal to Callboard",
            "allowed: slack.…, scheduled.…, api.…, agent.output.…, run.succeeded.… and your own systems' topics",
        )
    return None


def _run_problem(pattern: str, words: list[str]) -> tuple[str, str] | None:
    status = words[1] if len(words) > 1 else ""
    if status in TERMINAL:
        return None
    return (
        f"'{pattern}' is not the end of a run",
        suggestion(status, TERMINAL) if status.strip("*#") else "name how it ends, such as run.failed.#",
    )
