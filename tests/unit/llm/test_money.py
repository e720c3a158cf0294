"""Amounts of money as people read them."""

from __future__ import annotations

import pytest

from callboard.llm.money import told_usd


@pytest.mark.parametrize(
    ("usd", "told"),
    [(0.0, "$0.00"), (2.5, "$2.50"), (0.001, "$0.0010"), (0.0075, "$0.0075"), (0.1 + 0.2, "$0.30"), (100, "$100.00")],
)
def test_a_small_limit_is_not_shown_as_nothing(usd: float, told: str) -> None:
    assert told_usd(usd) == told
