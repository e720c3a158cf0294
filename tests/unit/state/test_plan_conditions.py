"""The conditions of a plan's steps: what they say, what is none, and that nothing takes long (RELIABILITY.md, H15)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.errors import InvalidInputError
from callboard.state.plan_conditions import MAX_CHARS, holds, parse, problem_of
from callboard.state.plan_references import Reference

KNOWN = {
    "step.a.output": {"ok": True, "n": 3, "tags": ["x", 1]},
    "step.a.output.ok": True,
    "step.a.output.n": 3,
    "step.a.output.tags": ["x", 1],
    "input": "hello world",
    "input.none": None,
    "step.b.output": "7",
    "step.b.status": "skipped",
}


def lookup(reference: Reference) -> Any:
    return KNOWN.get(reference.text)


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("${step.a.output.ok} == true", True),
        ("${step.a.output.ok}==1", False),
        ("${step.a.output.n} >= 3 and ${step.a.output.n} < 4", True),
        ("${step.a.output.n} != 3", False),
        ("not ${step.a.output.ok}", False),
        ("not not ${step.a.output.ok}", True),
        ("${step.a.output.tags} contains 'x'", True),
        ("${step.a.output.tags} contains true", False),
        ('${step.a.output} contains "ok"', True),
        ("${input} contains 'lo wo'", True),
        ("${input.none} contains 'x'", False),
        ("${input.nothing} == null", True),
        ("${step.b.output} > 6.5", True),
        ("${step.b.status} == 'skipped'", True),
        ("false or (true and not false)", True),
        ("true or false and false", True),
        ("'it''s' == 'x'", None),
        (r"'it\'s' contains 's'", True),
        ("-1 < 0", True),
        ("''", False),
        ("0", False),
        ("'false'", True),
        ("'b' > 'a'", True),
        ("'${input}' == 'hello world'", False),
    ],
)
def test_a_condition_says_what_it_reads_like(condition: str, wanted: bool | None) -> None:
    if wanted is None:
        assert problem_of(condition) is not None
    else:
        assert holds(condition, lookup) is wanted


@pytest.mark.parametrize(
    "condition",
    ["", "(", ")", "==", "true ==", "true true", "1 < 2 < 3", "a", "f(1)", "__import__('os')", "1 + 1", "x.y", "'open",
     "${env:SECRET} == 1", "${}", "true; false", "not", "and", "(" * 21 + "true" + ")" * 21, "not " * 30 + "true",
     "true or " * 100 + "true", "`id`", "\0"],
)  # fmt: skip
def test_H15_what_is_no_condition_is_refused_with_a_reason(condition: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse(condition)
    assert refused.value.code == "bad_condition"
    assert refused.value.message


@pytest.mark.parametrize("condition", ["1 < 'x'", "null < 1", "true > false", "1 contains 1", "${step.a.output} < 1"])
def test_what_has_no_order_is_an_error_and_not_false(condition: str) -> None:
    with pytest.raises(InvalidInputError, match=r"order|contains nothing"):
        holds(condition, lookup)


@given(st.text(max_size=MAX_CHARS + 10) | st.text(alphabet="()not and'\"${}input.a=<>!1\\ ", max_size=MAX_CHARS))
def test_H15_any_text_is_a_condition_or_refused_at_once(condition: str) -> None:
    begun = time.process_time()
    try:
        holds(condition, lookup)
    except InvalidInputError as error:
        assert error.code == "bad_condition"  # noqa: PT017  # both are right
    assert time.process_time() - begun < 1.0
