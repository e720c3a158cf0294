"""When a paused run looks again, gives up, and is told of."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from callboard.state import pausing

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = st.floats(min_value=0, max_value=20_000).map(lambda seconds: timedelta(seconds=seconds))


@given(waited=SECONDS, wanted=SECONDS, patience=SECONDS.map(lambda span: span + timedelta(seconds=1)))
def test_no_pause_ends_before_it_is_wanted_or_lasts_beyond_the_patience(
    waited: timedelta, wanted: timedelta, patience: timedelta
) -> None:
    found = pausing.pause(NOW, NOW + wanted, NOW - waited, patience)
    if waited >= patience:
        assert found.until is None
        return
    assert found.until is not None
    assert found.until == min(NOW + wanted, NOW - waited + patience)
    assert found.tell == (found.until - found.since > pausing.UNTOLD)


@given(count=st.integers(1, 500), outage=SECONDS)
def test_G2_the_released_come_no_faster_than_they_piled_up_or_than_one_a_second(count: int, outage: timedelta) -> None:
    moments = pausing.spread(count, NOW - outage, NOW)
    assert len(moments) == count
    assert moments == sorted(moments)
    assert moments[0] == NOW
    usual = count / max(outage.total_seconds(), 1e-6)
    for window in (10.0, 60.0):
        most = max(
            bisect_left(moments, begin + timedelta(seconds=window)) - first
            for first, begin in enumerate(moments[: count // 2 + 1])
            if first == 0 or moments[first - 1] < begin
        )
        assert most <= max(usual, 1.0) * window + 1 + 1e-6
