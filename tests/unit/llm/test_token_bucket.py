"""The bucket's arithmetic: no minute ever holds more than the provider allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from callboard.llm import token_bucket
from callboard.llm.token_bucket import LEASE_SECONDS, Bucket, BucketLimit

START = datetime(2026, 1, 1, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@given(
    limit=st.integers(1, 500),
    steps=st.lists(st.tuples(st.floats(0, 20), st.integers(1, 3)), min_size=1, max_size=120),
)
def test_no_minute_and_lease_before_it_holds_more_requests_than_allowed(
    limit: int, steps: list[tuple[float, int]]
) -> None:
    bucket: Bucket | None = None
    requests = BucketLimit(per_minute=limit, whole=True)
    taken: list[tuple[float, float]] = []
    elapsed = 0.0
    for seconds, wanted in steps:
        elapsed += seconds
        if wanted > requests.capacity:
            continue
        while True:
            bucket, got = token_bucket.lease(bucket, requests, float(wanted), after(elapsed))
            if not got:
                break
            assert got >= wanted
            assert got == int(got)
            taken.append((elapsed, got))
    for begin, _ in taken:
        window = sum(got for at, got in taken if begin <= at < begin + 60 + LEASE_SECONDS)
        assert window <= limit


@given(limit=st.integers(1, 10_000), wanted=st.integers(1, 5000))
def test_what_has_to_wait_gets_it_after_the_time_that_it_is_told(limit: int, wanted: int) -> None:
    tokens = BucketLimit(per_minute=limit, whole=False)
    bucket: Bucket | None = Bucket(allowance=0.0, refilled_at=START)
    seconds = token_bucket.seconds_until(bucket, tokens, wanted, START)
    assert seconds > 0
    bucket, early = token_bucket.lease(bucket, tokens, wanted, after(seconds * 0.9))
    assert early == 0
    bucket, got = token_bucket.lease(bucket, tokens, wanted, after(seconds + 0.001))
    assert got >= wanted


def test_a_call_larger_than_the_bucket_is_let_through_once_it_is_full_and_paid_back_by_all() -> None:
    tokens = BucketLimit(per_minute=1000, whole=False)
    bucket, got = token_bucket.lease(None, tokens, 400, START)
    assert got == 400
    assert bucket.allowance == -300
    assert token_bucket.seconds_until(bucket, tokens, 1, START) > 20


def test_a_steady_stream_gets_nearly_what_is_allowed() -> None:
    requests = BucketLimit(per_minute=60, whole=True)
    bucket: Bucket | None = None
    given_out = 0.0
    for tenth in range(6000):
        bucket, got = token_bucket.lease(bucket, requests, 1.0, after(tenth / 10))
        given_out += got
    assert 480 <= given_out <= 600


def test_a_clock_that_was_set_back_gives_nothing_for_free() -> None:
    requests = BucketLimit(per_minute=60, whole=True)
    empty = Bucket(allowance=0.0, refilled_at=START)
    assert token_bucket.refilled(empty, requests, after(-86_400)).allowance == 0
