"""References from one step's input to the run's input and to the outputs of other steps: pure.

`${input}` and `${input.a.b}` are the run's input, `${step.ID.output}` and `${step.ID.output.a.b}` a step's output;
`${workflow.input.x}` and `${ID.output.y}` mean the same. A text that is one reference takes the referred value as it
is; inside a longer text values are written out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from callboard.errors import InvalidInputError

_REFERENCE = re.compile(r"\$\{([^{}]{1,200})\}")
_STEP = re.compile(r"(?:step\.)?(?P<id>[A-Za-z0-9_-]+)\.output(?P<path>(?:\.[A-Za-z0-9_-]+)*)")
_INPUT = re.compile(r"(?:workflow\.)?input(?P<path>(?:\.[A-Za-z0-9_-]+)*)")


def resolve(template: Any, given: Any, outputs: Mapping[str, Any]) -> Any:
    """The template with its references filled in; what was filled in is never looked at again.

    Raises InvalidInputError for a reference to a step without an output, and for a path that leads nowhere.
    """
    if isinstance(template, str):
        return _resolve_text(template, given, outputs)
    if isinstance(template, Mapping):
        return {key: resolve(value, given, outputs) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [resolve(value, given, outputs) for value in template]
    return template


def referred_steps(template: Any) -> Iterator[str]:
    """The ids of all steps that the template refers to."""
    if isinstance(template, str):
        for reference in _REFERENCE.findall(template):
            if _INPUT.fullmatch(reference):
                continue
            step = _STEP.fullmatch(reference)
            if step is not None:
                yield step["id"]
    elif isinstance(template, Mapping):
        for value in template.values():
            yield from referred_steps(value)
    elif isinstance(template, list | tuple):
        for value in template:
            yield from referred_steps(value)


def _resolve_text(template: str, given: Any, outputs: Mapping[str, Any]) -> Any:
    alone = _REFERENCE.fullmatch(template)
    if alone is not None:
        return _value(alone[1], given, outputs)
    return _REFERENCE.sub(lambda match: _written(_value(match[1], given, outputs)), template)


def _value(reference: str, given: Any, outputs: Mapping[str, Any]) -> Any:
    from_input = _INPUT.fullmatch(reference)
    if from_input is not None:
        return _follow(given, from_input["path"], reference)
    from_step = _STEP.fullmatch(reference)
    if from_step is None:
        raise InvalidInputError(
            f"${{{reference}}} refers to nothing: write ${{input}} or ${{step.ID.output}}", code="bad_reference"
        )
    if from_step["id"] not in outputs:
        raise InvalidInputError(
            f"${{{reference}}}: step '{from_step['id']}' has no output yet; add it to depends_on", code="bad_reference"
        )
    return _follow(outputs[from_step["id"]], from_step["path"], reference)


def _follow(value: Any, path: str, reference: str) -> Any:
    for name in path.split(".")[1:]:
        if not isinstance(value, Mapping) or name not in value:
            raise InvalidInputError(f"${{{reference}}} has no '{name}'", code="bad_reference")
        value = value[name]
    return value


def _written(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
