"""Tokens are guessed from above."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.llm.provider import Message, ToolCall, ToolSpec
from callboard.llm.tokens import TOKENS_A_MESSAGE, estimate_text_tokens, estimate_tokens


@pytest.mark.parametrize(
    ("text", "billed"),
    [
        # About what tokenizers of today make of these: none can be asked without a network.
        ("", 0),
        ("The quick brown fox jumps over the lazy dog.", 11),
        ("Donaudampfschifffahrtsgesellschaft", 13),
        ('{"name": "look", "arguments": {"where": "up", "n": 17}}', 24),
        ("def f(x):\n    return [y ** 2 for y in range(x) if y % 3 == 0]\n", 27),
        ("Быстрая коричневая лиса прыгает через ленивую собаку", 15),
        ("今日は天気がいいから散歩しましょう", 12),
        ("人人生而自由在尊严和权利上一律平等", 16),
        ("🎉🎉🎉", 9),
    ],
)
def test_the_guess_is_not_far_above_and_hardly_below_what_is_billed(text: str, billed: int) -> None:
    assert billed * 0.7 <= estimate_text_tokens(text) <= billed * 2 + 1


@given(st.text(), st.text())
def test_more_text_never_takes_fewer_tokens(one: str, two: str) -> None:
    assert estimate_text_tokens(one + two) >= max(estimate_text_tokens(one), estimate_text_tokens(two)) - 1
    assert estimate_text_tokens(one + two) <= estimate_text_tokens(one) + estimate_text_tokens(two)


def test_calls_results_and_tools_count_too() -> None:
    call = ToolCall(id="a", name="look", arguments={"where": "x" * 400})
    plain = [Message(role="assistant", content="hello")]
    assert estimate_tokens([]) == 0
    assert estimate_tokens(plain) > TOKENS_A_MESSAGE
    assert estimate_tokens([Message(role="assistant", content="hello", tool_calls=(call,))]) > 100
    broken = ToolCall(id="a", name="look", malformed="y" * 400)
    assert estimate_tokens([Message(role="assistant", content="", tool_calls=(broken,))]) > 100
    tool = ToolSpec(name="look", description="z" * 400, parameters={})
    assert estimate_tokens(plain, [tool]) > estimate_tokens(plain) + 100
