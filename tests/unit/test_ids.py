"""Identifiers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callboard.ids import RandomIds, SequentialIds, derive_id, fraction
from callboard.tracing import is_trace_id

_PARTS = st.lists(st.text() | st.integers(), max_size=5)


def test_a_derived_id_never_changes_between_releases() -> None:
    assert derive_id("run", "e1", "standup") == "66d64b66dbcd2f45a7c78000ed03a30c"


@given(_PARTS, _PARTS)
def test_different_parts_give_different_ids(one: list[str | int], other: list[str | int]) -> None:
    same_text = [str(part) for part in one] == [str(part) for part in other]
    assert (derive_id(*one) == derive_id(*other)) == same_text


def test_parts_do_not_run_into_each_other() -> None:
    assert derive_id("ab", "c") != derive_id("a", "bc") != derive_id("abc")


def test_every_kind_of_id_is_a_w3c_trace_id() -> None:
    assert all(is_trace_id(value) for value in (RandomIds().new(), SequentialIds().new(), derive_id("x")))


def test_random_ids_differ_and_sequential_ones_count() -> None:
    ids, counted = RandomIds(), SequentialIds()
    assert len({ids.new() for _ in range(1000)}) == 1000
    assert [int(counted.new(), 16) for _ in range(3)] == [1, 2, 3]


def test_a_fraction_is_from_zero_to_just_under_one_and_spread() -> None:
    assert fraction("0" * 32) == 0
    assert 0.999 < fraction("f" * 32) < 1
    tenths = {int(10 * fraction(RandomIds().new())) for _ in range(1000)}
    assert tenths == set(range(10))
