"""The breaker's states, by hand and by rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from callboard.llm import circuit_breaker as breakers
from callboard.llm.circuit_breaker import Breaker, BreakerSettings

START = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = BreakerSettings()
RANDOM = st.floats(min_value=0, max_value=0.999)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def opened(times: int = 1) -> Breaker:
    breaker = breakers.failed(Breaker(), START, SETTINGS, count=5, random=0.0)
    for _ in range(times - 1):
        breaker = reopened(breaker)
    return breaker


def reopened(breaker: Breaker) -> Breaker:
    assert breaker.open_until is not None
    now = breaker.open_until
    probing = breakers.begin_probe(breaker, now, 30.0)
    assert probing.probe_until is not None
    return breakers.probe_failed(probing, probing.probe_until, now, SETTINGS, 0.0)


def test_G2_four_failures_in_a_row_leave_it_closed_and_the_fifth_opens_it_for_ten_seconds() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker = breakers.failed(breaker, START, SETTINGS, count=1, random=0.0)
        assert breaker.status(START) == "closed"
    breaker = breakers.failed(breaker, START, SETTINGS, count=1, random=0.0)
    assert breaker.status(after(9.9)) == "open"
    assert breaker.status(after(10)) == "half_open"


def test_a_success_between_starts_the_count_anew() -> None:
    breaker = breakers.failed(Breaker(), START, SETTINGS, count=4, random=0.0)
    breaker = breakers.succeeded(breaker)
    assert breakers.failed(breaker, START, SETTINGS, count=4, random=0.0).status(START) == "closed"


def test_G2_each_opening_is_twice_as_long_up_to_five_minutes() -> None:
    times = []
    breaker = opened()
    began = START
    for _ in range(8):
        assert breaker.open_until is not None
        times.append((breaker.open_until - began).total_seconds())
        began = breaker.open_until
        breaker = reopened(breaker)
    assert times == [10, 20, 40, 80, 160, 300, 300, 300]


def test_G2_exactly_one_probe_at_a_time() -> None:
    breaker = opened()
    assert breakers.begin_probe(breaker, after(9), 30.0) == breaker  # still open
    probing = breakers.begin_probe(breaker, after(10), 30.0)
    assert probing != breaker
    assert breakers.begin_probe(probing, after(20), 30.0) == probing
    assert breakers.begin_probe(probing, after(40), 30.0) != probing  # its process is gone
    assert breakers.begin_probe(Breaker(), after(10), 30.0) == Breaker()


def test_a_probe_that_was_answered_closes_it_and_the_next_opening_is_short_again() -> None:
    breaker = opened(times=4)
    assert breaker.open_until is not None
    probing = breakers.begin_probe(breaker, breaker.open_until, 30.0)
    assert breakers.probe_succeeded(probing, breaker.open_until) == Breaker()


def test_what_began_before_the_opening_neither_closes_nor_prolongs_it() -> None:
    breaker = opened()
    assert breakers.succeeded(breaker) == breaker
    assert breakers.failed(breaker, after(5), SETTINGS, count=50, random=0.5) == breaker
    assert breakers.probe_succeeded(breaker, after(5)) == breaker


def test_the_failure_of_a_probe_whose_lease_went_to_another_says_nothing() -> None:
    first = breakers.begin_probe(opened(), after(10), 5.0)
    second = breakers.begin_probe(first, after(16), 5.0)
    assert first.probe_until is not None
    assert breakers.probe_failed(second, first.probe_until, after(17), SETTINGS, 0.0) == second
    assert breakers.probe_abandoned(second, first.probe_until) == second


def test_an_abandoned_probe_lets_the_next_one_look() -> None:
    probing = breakers.begin_probe(opened(), after(10), 30.0)
    assert probing.probe_until is not None
    assert breakers.probe_abandoned(probing, probing.probe_until) == opened()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["fail", "succeed", "probe", "probe fails", "probe succeeds", "abandon", "wait"]),
            st.integers(1, 60),
            RANDOM,
        ),
        max_size=60,
    )
)
def test_whatever_happens_it_opens_only_after_enough_failures_and_never_for_longer_than_five_minutes(
    steps: list[tuple[str, int, float]],
) -> None:
    breaker, now, token, in_a_row = Breaker(), START, None, 0
    for step, number, random in steps:
        before = breaker
        match step:
            case "fail":
                breaker = breakers.failed(breaker, now, SETTINGS, count=1, random=random)
                in_a_row += before.open_until is None
            case "succeed":
                breaker = breakers.succeeded(breaker)
                in_a_row = 0 if before.open_until is None else in_a_row
            case "probe":
                breaker = breakers.begin_probe(breaker, now, 30.0)
                token = breaker.probe_until if breaker != before else token
            case "probe fails" if token is not None:
                breaker = breakers.probe_failed(breaker, token, now, SETTINGS, random)
            case "probe succeeds" if breaker.probe_until is not None:
                breaker = breakers.probe_succeeded(breaker, now)
            case "abandon" if token is not None:
                breaker = breakers.probe_abandoned(breaker, token)
            case "wait":
                now += timedelta(seconds=number)
        if before.open_until is None and breaker.open_until is not None:
            assert in_a_row >= SETTINGS.failures
        if before.open_until is not None and breaker.open_until is None:
            in_a_row = 0
        if breaker.open_until is not None and breaker.open_until != before.open_until:
            assert 8.0 <= (breaker.open_until - now).total_seconds() <= 300.0
        assert breaker.probe_until is None or breaker.open_until is not None
