"""Topic patterns, as RabbitMQ understands them: words between dots, `*` one word, `#` any number of words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic exchange would route the topic to a queue bound with the pattern."""
    if pattern in ("#", topic):
        return True
    if "*" not in pattern and "#" not in pattern:
        return False
    return _matches(tuple(pattern.split(".")), tuple(topic.split(".")))


def matches_any(patterns: Iterable[str], topic: str) -> bool:
    return any(matches(pattern, topic) for pattern in patterns)


@lru_cache(maxsize=4096)
def _matches(pattern: Sequence[str], topic: Sequence[str]) -> bool:
    """Walks the pattern once with every position in the topic that it can have reached: nothing to blow up."""
    reached = {0}
    for word in pattern:
        if word == "#":
            reached = set(range(min(reached), len(topic) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(topic) and word in ("*", topic[at])}
        if not reached:
            return False
    return len(topic) in reached
