"""YAML as Callboard reads it: nothing surprising, everything with a place."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from callboard.config.loader import MAX_DEPTH, MAX_NODES, read_yaml


def plain(text: str) -> Any:
    document = read_yaml(text.encode(), "x.yaml")
    assert document.root is not None
    assert document.problems == ()
    return document.root.plain()


def refusal(text: str | bytes) -> str:
    document = read_yaml(text if isinstance(text, bytes) else text.encode(), "x.yaml")
    assert document.problems
    return str(document.problems[0])


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("010", "010"),
        ("12:30:00", "12:30:00"),
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("7", 7),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("'7'", "7"),
        ('"true"', "true"),
        ("=", "="),
        ("1.2.3", "1.2.3"),
        ("+", "+"),
        (".", "."),
    ],
)
def test_scalars_mean_what_they_look_like(scalar: str, value: object) -> None:
    found = plain(f"key: {scalar}\n")["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 99999999999999999999", "x.yaml:1:4: a number of more than 64 bits (put it in quotes)"),
        ("a: .inf", "x.yaml:1:4: '.inf' is no finite number"),
        ("a: 1e999", "x.yaml:1:4: '1e999' is too large for a number"),
        ("a: 1\nb: 2\na: 3", "x.yaml:3:1: 'a' stands here twice (first in line 1: remove one)"),
        ("1: a", "x.yaml:1:1: a key must be text (put it in quotes)"),
        ("? [a]\n: b", "x.yaml:1:3: a key must be text"),
        ("a: *b", "x.yaml:1:4: alias *b has no anchor before it"),
        ("a: !!str 1", "x.yaml:1:4: tag tag:yaml.org,2002:str is not allowed"),
        ("a: ! 1", "x.yaml:1:4: tag ! is not allowed"),
        ("%TAG ! tag:x,2000:\n---\na: !y 1", "is not allowed"),
        ("a: [1", "no YAML: did not find expected"),
        ("a: b: c", "put text that contains : or # in quotes"),
        ("a: @b", "x.yaml:1:4: no YAML"),
        ("a:\n\tb: 1", "x.yaml:2:1: a tab at the beginning of the line (indent with spaces)"),
        (b"a: b\nc: \xff\n", "x.yaml:2:4: byte 0xff is no UTF-8 (save it as UTF-8)"),
        (b"a: b\nc: \x1b[31m\n", "x.yaml:2:4: control character 0x1b"),
        ("\ufeff", "x.yaml:1:1: the file is empty"),
        ("a: 1\n---\nb: 2", "x.yaml:2:1: a second document"),
    ],
)
def test_what_is_ambiguous_or_dangerous_is_refused_at_its_place(text: str | bytes, words: str) -> None:
    assert words in refusal(text)


def test_several_problems_are_told_at_once() -> None:
    document = read_yaml(b"a: 1\na: 2\nb: !!x 1\n2: 3\n", "x.yaml")
    assert [problem.line for problem in document.problems] == [2, 3, 4]


def test_aliases_work_within_bounds_and_count_what_they_repeat() -> None:
    assert plain("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}
    half = ", ".join(["x"] * (MAX_NODES // 2))
    assert "more than 20000 values" in refusal(f"a: &x [{half}]\nb: *x\n")


def test_the_depth_counts_through_aliases() -> None:
    half = MAX_DEPTH // 2
    nested = "[" * half + "]" * half
    assert read_yaml(f"a: &x {nested}\nb: {nested}\n".encode(), "x").root is not None
    assert "nested deeper" in refusal(f"a: &x {nested}\nb: {'[' * half}*x{']' * half}\n")


def test_a_path_that_leads_nowhere_is_located_at_its_last_part() -> None:
    document = read_yaml(b"a:\n  b: [1, {c: 2}]\n", "x")
    assert document.root is not None
    assert document.root.locate(("a", "b", 1, "c")) == (2, 14)
    assert document.root.locate(("a", "b", 1, "c"), at_key=True) == (2, 11)
    assert document.root.locate(("a", "nothing", 7)) == (2, 3)
    assert document.root.locate(()) == (1, 1)


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    document = read_yaml(data, "x")
    assert (document.root is None) <= bool(document.problems)


@given(st.text(alphabet="abn:- [],{}#&*!|>'\"%@`\n\t?<=~01.", max_size=60))
def test_no_text_raises(text: str) -> None:
    document = read_yaml(text.encode(), "x")
    assert (document.root is None) <= bool(document.problems)


Trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(codec="ascii"), max_size=20).map("x".__add__),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc xyz", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@given(Trees)
def test_what_another_program_writes_as_yaml_is_read_back(tree: object) -> None:
    text = yaml.safe_dump({"key": tree}, default_flow_style=None, sort_keys=False)
    document = read_yaml(text.encode(), "x")
    if document.root is not None and "&id" not in text:
        assert document.root.plain() == {"key": tree}
