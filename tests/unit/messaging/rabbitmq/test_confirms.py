"""The windows of publishes and deliveries: every answer finds its own, in any order, and nothing is acked twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callboard.messaging.rabbitmq.confirms import AckWindow, ConfirmWindow


@given(count=st.integers(1, 60), answers=st.lists(st.tuples(st.integers(1, 70), st.booleans()), max_size=80))
def test_each_publish_is_settled_by_the_first_answer_that_covers_it(
    count: int, answers: list[tuple[int, bool]]
) -> None:
    window: ConfirmWindow[int] = ConfirmWindow()
    assert [window.add(number) for number in range(1, count + 1)] == list(range(1, count + 1))
    open_ones = set(range(1, count + 1))
    for tag, multiple in answers:
        covered = {number for number in open_ones if number <= tag} if multiple else open_ones & {tag}
        assert set(window.settle(tag, multiple=multiple)) == covered
        open_ones -= covered
        assert len(window) == len(open_ones)
        assert window.oldest() == min(open_ones, default=None)
    assert sorted(window.clear()) == sorted(open_ones)


def test_publishes_after_a_large_answer_are_still_settled() -> None:
    window: ConfirmWindow[str] = ConfirmWindow()
    window.add("a")
    assert list(window.settle(99, multiple=True)) == ["a"]
    window.add("b")
    assert list(window.settle(2, multiple=True)) == ["b"]


@given(order=st.permutations(range(1, 25)), pauses=st.sets(st.integers(0, 23)))
def test_what_is_done_is_acked_once_and_at_once_whatever_the_order(order: list[int], pauses: set[int]) -> None:
    window = AckWindow()
    outstanding = set(range(1, 25))
    done: set[int] = set()
    for at, tag in enumerate(order):
        window.done(tag)
        done.add(tag)
        if at in pauses:
            _acknowledge(window, outstanding, done)
            assert outstanding & done == set()
    _acknowledge(window, outstanding, done)
    assert outstanding == set()
    assert window.flush() == []


def _acknowledge(window: AckWindow, outstanding: set[int], done: set[int]) -> None:
    """As the broker does: a number that is not outstanding closes the channel; `multiple` takes all up to it."""
    for tag, multiple in window.flush():
        assert tag in outstanding
        acked = {number for number in outstanding if number <= tag} if multiple else {tag}
        assert acked <= done
        outstanding -= acked


def test_a_run_of_deliveries_is_one_ack() -> None:
    window = AckWindow()
    for tag in range(1, 201):
        window.done(tag)
    assert window.flush() == [(200, True)]
