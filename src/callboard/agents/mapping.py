"""References from one step's input to the run's input and to what became of other steps: pure.

The references themselves are described in `state/plan_references`. A text that is one reference takes the referred
value as it is; inside a longer text values are written out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from callboard.errors import InvalidInputError
from callboard.state.plan_references import MAX_NESTING, REFERENCE, Reference, reference_of, referred_steps

__all__ = ["MAX_FILLED_BYTES", "Scope", "json_text", "referred_steps", "resolve"]

MAX_FILLED_BYTES = 1024 * 1024
"""So much may be filled into one template: no run's input is larger."""
_INDEX = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What references may refer to. `facts` hold `status` and `error` by step; `item_name` is that of a list's item."""

    given: Any = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    item_name: str | None = None
    item: Any = None

    def value(self, reference: Reference) -> Any:
        """Raises InvalidInputError (`bad_reference`) for a step that has not ended and a path that leads nowhere."""
        match reference.source:
            case "input":
                return _follow(self.given, reference)
            case "item":
                return _follow(self.item, reference)
        known = self.outputs if reference.what == "output" else self.facts
        if reference.step not in known:
            raise InvalidInputError(
                f"{reference}: step '{reference.step}' has no {reference.what} yet; add it to depends_on",
                code="bad_reference",
            )
        if reference.what == "output":
            return _follow(self.outputs[reference.step], reference)
        return self.facts[reference.step].get(reference.what)

    def value_or_none(self, reference: Reference) -> Any:
        """For conditions: what is not there is null."""
        try:
            return self.value(reference)
        except InvalidInputError:
            return None


def resolve(template: Any, given: Any, outputs: Mapping[str, Any]) -> Any:
    """The template with its references to the input and to outputs filled in, see `fill`."""
    return fill(template, Scope(given=given, outputs=outputs))


def fill(template: Any, scope: Scope) -> Any:
    """The template with its references filled in; what was filled in is never looked at again.

    Raises InvalidInputError for a reference to a step without an output, for a path that leads nowhere
    (`bad_reference`), and for what would grow or nest beyond all bounds (`input_too_large`).
    """
    return _Filling(scope).fill(template, 0)


class _Filling:
    """One template being filled in; counts what goes into it."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._room = MAX_FILLED_BYTES

    def fill(self, template: Any, nesting: int) -> Any:
        if nesting > MAX_NESTING:
            raise InvalidInputError(f"an input is nested {MAX_NESTING} deep at the most", code="input_too_large")
        if isinstance(template, str):
            return self._text(template)
        if isinstance(template, Mapping):
            return {key: self.fill(value, nesting + 1) for key, value in template.items()}
        if isinstance(template, list | tuple):
            return [self.fill(value, nesting + 1) for value in template]
        return template

    def _text(self, template: str) -> Any:
        alone = REFERENCE.fullmatch(template)
        if alone is not None:
            value = self._value(alone[1])
            self._take(_size(value))
            return value
        return REFERENCE.sub(lambda match: self._written(self._value(match[1])), template)

    def _value(self, text: str) -> Any:
        reference = reference_of(text, self._scope.item_name)
        if reference is None:
            raise InvalidInputError(
                f"${{{text}}} refers to nothing: write ${{input}} or ${{step.ID.output}}", code="bad_reference"
            )
        return self._scope.value(reference)

    def _written(self, value: Any) -> str:
        text = value if isinstance(value, str) else json_text(value)
        self._take(len(text))
        return text

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise InvalidInputError(
                f"what the references bring is more than {MAX_FILLED_BYTES} bytes: refer to less of it",
                code="input_too_large",
            )


def _follow(value: Any, reference: Reference) -> Any:
    for name in reference.path:
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list | tuple) and _INDEX.fullmatch(name) and int(name) < len(value):
            value = value[int(name)]
        else:
            raise InvalidInputError(f"{reference} has no '{name}'", code="bad_reference")
    return value


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str) else len(json_text(value))


def json_text(value: Any) -> str:
    # orjson takes neither whole numbers above 64 bits nor deep nesting, and a model may have answered with both.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
