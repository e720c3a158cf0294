"""JSON Schemas that people and servers write, and values by them."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from callboard.schema_check import MAX_PROBLEMS, schema_problem, value_problems

CITY: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer", "minimum": 0}},
    "required": ["city"],
    "additionalProperties": False,
}


def test_a_schema_of_an_object_can_be_used() -> None:
    assert schema_problem(CITY) is None


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "text"}, "type"),
        ({"type": "array"}, "not of an object"),
        ({"type": "object", "properties": {"a": {"$ref": "https://example.com/a.json"}}}, "another document"),
        ({"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}, "another document"),
    ],
)
def test_a_schema_that_cannot_be_used_says_why(schema: dict[str, JsonValue], problem: str) -> None:
    assert problem in (schema_problem(schema) or "")


def test_a_value_that_fits_has_no_problems() -> None:
    assert value_problems(CITY, {"city": "Berlin", "people": 3}) == []


def test_each_problem_names_its_place() -> None:
    problems = value_problems(CITY, {"people": -1, "land": "x"})
    assert any("people" in problem for problem in problems)
    assert any("city" in problem for problem in problems)
    assert any("land" in problem for problem in problems)


def test_a_value_that_is_wrong_everywhere_is_told_in_short() -> None:
    schema: dict[str, JsonValue] = {"type": "object", "additionalProperties": {"type": "integer"}}
    assert len(value_problems(schema, {str(n): "x" for n in range(1000)})) == MAX_PROBLEMS
