"""Retry arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.retry import Backoff

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)


def test_each_wait_is_twice_the_one_before_up_to_the_cap() -> None:
    backoff = Backoff(first_seconds=1, factor=2, cap_seconds=10, jitter=0.5)
    assert [backoff.seconds(retry, random=lambda: 0.0) for retry in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_the_jitter_takes_away_a_share() -> None:
    backoff = Backoff(first_seconds=8, jitter=0.5)
    assert backoff.seconds(1, random=lambda: 0.5) == 6


def test_what_the_other_side_asked_for_is_never_undercut() -> None:
    backoff = Backoff(first_seconds=1, cap_seconds=10)
    assert backoff.seconds(1, random=lambda: 0.9, retry_after_seconds=120) == 120
    assert backoff.seconds(4, random=lambda: 0.0, retry_after_seconds=1) == 8


@given(
    st.integers(1, 10**9),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 100),
    st.floats(1, 10),
    st.floats(0, 1000),
    st.floats(0, 1),
)
def test_a_wait_is_never_negative_nor_over_the_cap(
    retry: int, random: float, first: float, factor: float, cap: float, jitter: float
) -> None:
    backoff = Backoff(first_seconds=first, factor=factor, cap_seconds=cap, jitter=jitter)
    assert 0 <= backoff.seconds(retry, random=lambda: random) <= cap


@pytest.mark.parametrize(
    "arguments", [{"first_seconds": -1.0}, {"factor": 0.5}, {"jitter": 1.5}, {"cap_seconds": -1.0}], ids=str
)
def test_a_backoff_that_makes_no_sense_is_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="backoff"):
        Backoff(**arguments)


def test_retries_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="from 1"):
        Backoff().seconds(0, random=lambda: 0.0)
