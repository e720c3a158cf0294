"""The conditions of a plan's steps: a small language that can compare and nothing else; pure.

    ${step.check.output.ok} == true and not (${input.kind} == "draft" or ${step.count.output} < 3)

Operands are references, texts in single or double quotes, numbers, `true`, `false` and `null`. Comparisons are `==`,
`!=`, `<`, `<=`, `>`, `>=` and `contains`; they are joined by `and`, `or`, `not` and parentheses. There are no functions
and no patterns, so that a condition's time is bounded by its length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from callboard.errors import InvalidInputError
from callboard.state.plan_references import Reference, reference_of

MAX_CHARS = 500
MAX_NESTING = 20
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |\$\{(?P<reference>[^{}]{1,200})\}
    |(?P<number>-?[0-9]+(?:\.[0-9]+)?)
    |(?P<word>[A-Za-z_]+)
    |(?P<sign>==|!=|<=|>=|<|>|\(|\))
    )""",
    re.VERBOSE,
)
_LITERALS = {"true": True, "false": False, "null": None}
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "contains")

Lookup = Callable[[Reference], Any]
"""What a reference stands for now; null where the way leads nowhere."""


@dataclass(frozen=True, slots=True)
class _Value:
    value: Any


@dataclass(frozen=True, slots=True)
class _Not:
    inner: Node


@dataclass(frozen=True, slots=True)
class _Joined:
    word: str
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class _Comparison:
    sign: str
    left: Node
    right: Node


Node: TypeAlias = _Value | Reference | _Not | _Joined | _Comparison


def holds(condition: str, lookup: Lookup) -> bool:
    """Whether the condition is true. An operand alone is true unless it is null, false, 0 or empty.

    Raises InvalidInputError (`bad_condition`) for a text that is no condition and for an order between things that have
    none.
    """
    return bool(_evaluate(parse(condition), lookup))


def parse(condition: str) -> Node:
    """Raises InvalidInputError (`bad_condition`), naming the place."""
    if len(condition) > MAX_CHARS:
        raise _bad(f"a condition has {len(condition)} characters, {MAX_CHARS} are allowed")
    return _Parser(condition).whole()


def problem_of(condition: str) -> str | None:
    """What is wrong with the text as a condition, None when nothing is."""
    try:
        parse(condition)
    except InvalidInputError as error:
        return error.message
    return None


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    value: str


class _Parser:
    """Recursive descent: `or` binds weakest, then `and`, `not`, the comparisons."""

    def __init__(self, condition: str) -> None:
        self._condition = condition
        self._tokens = [*_tokens(condition), _Token("end", "")]
        self._at = 0

    def whole(self) -> Node:
        node = self._or(0)
        if self._next.kind != "end":
            raise self._unexpected()
        return node

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _takes(self, *values: str) -> str | None:
        token = self._next
        if token.kind in ("word", "sign") and token.value in values:
            self._at += 1
            return token.value
        return None

    def _or(self, nesting: int) -> Node:
        parts = [self._and(nesting)]
        while self._takes("or"):
            parts.append(self._and(nesting))
        return parts[0] if len(parts) == 1 else _Joined("or", tuple(parts))

    def _and(self, nesting: int) -> Node:
        parts = [self._not(nesting)]
        while self._takes("and"):
            parts.append(self._not(nesting))
        return parts[0] if len(parts) == 1 else _Joined("and", tuple(parts))

    def _not(self, nesting: int) -> Node:
        if nesting > MAX_NESTING:
            raise _bad(f"a condition is nested {MAX_NESTING} deep at the most")
        return _Not(self._not(nesting + 1)) if self._takes("not") else self._comparison(nesting)

    def _comparison(self, nesting: int) -> Node:
        left = self._operand(nesting)
        sign = self._takes(*_COMPARISONS)
        return left if sign is None else _Comparison(sign, left, self._operand(nesting))

    def _operand(self, nesting: int) -> Node:
        if self._takes("("):
            node = self._or(nesting + 1)
            if not self._takes(")"):
                raise self._unexpected()
            return node
        token = self._next
        self._at += 1
        match token.kind:
            case "text":
                return _Value(re.sub(r"\\(.)", r"\1", token.value[1:-1]))
            case "number":
                return _Value(float(token.value) if "." in token.value else int(token.value))
            case "reference":
                reference = reference_of(token.value)
                if reference is None:
                    raise _bad(f"${{{token.value}}} refers to nothing: write ${{input}} or ${{step.ID.output}}")
                return reference
            case "word" if token.value in _LITERALS:
                return _Value(_LITERALS[token.value])
            case _:
                self._at -= 1
                raise self._unexpected()

    def _unexpected(self) -> InvalidInputError:
        found = f"'{self._next.value}'" if self._next.value else "its end"
        out = ": a text stands in quotes" if self._next.kind == "word" else ""
        return _bad(f"the condition {self._condition!r} is not understood at {found}{out}")


def _tokens(condition: str) -> Iterator[_Token]:
    at, end = 0, len(condition.rstrip())
    while at < end:
        found = _TOKEN.match(condition, at)
        if found is None or found.lastgroup is None:
            raise _bad(f"the condition {condition!r} is not understood at {condition[at:].strip()[:20]!r}")
        yield _Token(found.lastgroup, found[found.lastgroup])
        at = found.end()


def _evaluate(node: Node, lookup: Lookup) -> Any:
    match node:
        case _Value(value=value):
            return value
        case Reference():
            return lookup(node)
        case _Not(inner=inner):
            return not _evaluate(inner, lookup)
        case _Joined(word="or", parts=parts):
            return any(bool(_evaluate(part, lookup)) for part in parts)
        case _Joined(parts=parts):
            return all(bool(_evaluate(part, lookup)) for part in parts)
        case _Comparison(sign=sign, left=left, right=right):
            return _compare(sign, _evaluate(left, lookup), _evaluate(right, lookup))


def _compare(sign: str, left: Any, right: Any) -> bool:
    match sign:
        case "==":
            return _same(left, right)
        case "!=":
            return not _same(left, right)
        case "contains":
            return _contains(left, right)
    one, other = _ordered(left, right)
    match sign:
        case "<":
            return bool(one < other)
        case "<=":
            return bool(one <= other)
        case ">":
            return bool(one > other)
        case _:
            return bool(one >= other)


def _same(left: Any, right: Any) -> bool:
    """JSON's equality: `true` is not 1."""
    return isinstance(left, bool) is isinstance(right, bool) and bool(left == right)


def _contains(whole: Any, part: Any) -> bool:
    if whole is None:
        return False
    if isinstance(whole, str):
        return isinstance(part, str) and part in whole
    if isinstance(whole, dict):
        return isinstance(part, str) and part in whole
    if isinstance(whole, list | tuple):
        return any(_same(each, part) for each in whole)
    raise _bad(f"{_shown(whole)} contains nothing: only texts, lists and objects do")


def _ordered(left: Any, right: Any) -> tuple[Any, Any]:
    """Two texts or two numbers. A text that is a number counts as one beside a number: models answer in text."""
    if isinstance(left, str) and isinstance(right, str):
        return left, right
    one, other = _number(left), _number(right)
    if one is None or other is None:
        raise _bad(f"{_shown(left)} and {_shown(right)} have no order: compare two numbers or two texts")
    return one, other


def _number(value: Any) -> float | int | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,30}(\.[0-9]{1,30})?\s*", value):
        return float(value)
    return None


def _shown(value: Any) -> str:
    return repr(value)[:60]


def _bad(message: str) -> InvalidInputError:
    return InvalidInputError(message, code="bad_condition", field="when")
