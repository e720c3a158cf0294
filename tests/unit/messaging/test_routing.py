"""Topic patterns against an oracle that is too simple to be wrong."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callboard.messaging.routing import matches, matches_any

WORDS = st.sampled_from(["a", "b", "c"])
TOPICS = st.lists(WORDS, min_size=1, max_size=6)
PATTERNS = st.lists(st.sampled_from(["a", "b", "c", "*", "#"]), min_size=1, max_size=6)


def oracle(pattern: list[str], topic: list[str]) -> bool:
    """By trying: `#` takes nothing, or one word and stays."""
    if not pattern:
        return not topic
    if pattern[0] == "#":
        return oracle(pattern[1:], topic) or (bool(topic) and oracle(pattern, topic[1:]))
    return bool(topic) and pattern[0] in ("*", topic[0]) and oracle(pattern[1:], topic[1:])


@given(PATTERNS, TOPICS)
def test_a_pattern_matches_what_the_oracle_says(pattern: list[str], topic: list[str]) -> None:
    assert matches(".".join(pattern), ".".join(topic)) is oracle(pattern, topic)


@given(st.lists(PATTERNS, max_size=4), TOPICS)
def test_any_of_several_is_enough(patterns: list[list[str]], topic: list[str]) -> None:
    joined = [".".join(pattern) for pattern in patterns]
    assert matches_any(joined, ".".join(topic)) is any(oracle(pattern, topic) for pattern in patterns)


def test_a_pattern_that_would_blow_up_a_backtracker_is_answered_at_once() -> None:
    pattern, topic = ".".join(["#", "a"] * 40), ".".join(["a"] * 200 + ["b"])
    assert not matches(pattern, topic)


def test_a_word_is_compared_whole() -> None:
    assert not matches("run.succ*", "run.succeeded")
    assert not matches("run.*", "run")
    assert matches("run.*", "run.")  # an empty word is a word
