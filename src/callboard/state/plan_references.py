"""How the parts of a plan refer to each other: `${…}` in the inputs, conditions and lists of steps; pure.

`${input}` and `${input.a.b}` are the run's input, `${step.ID.output}` and `${step.ID.output.a.b}` a step's output,
`${step.ID.status}` and `${step.ID.error}` how it ended. `${workflow.input.x}` and `${ID.output.y}` mean the same. Where
a step is done once for each item of a list, `${item}` and `${item.a}` are the item, under the name that the step gives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

REFERENCE = re.compile(r"\$\{([^{}]{1,200})\}")
MAX_NESTING = 50
"""So deep may a template be nested; what lies deeper is not looked at, and refused when it is filled in."""
_PATH = r"(?P<path>(?:\.[A-Za-z0-9_-]+)*)"
_STEP = re.compile(r"(?:step\.)?(?P<id>[A-Za-z0-9_-]+)\.(?P<what>output|status|error)" + _PATH)
_INPUT = re.compile(r"(?:workflow\.)?input" + _PATH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One `${text}`: what it points at, and the way from there on."""

    text: str
    source: Literal["input", "step", "item"]
    path: tuple[str, ...] = ()
    step: str = ""
    what: str = "output"

    def __str__(self) -> str:
        return f"${{{self.text}}}"


def reference_of(text: str, item: str | None = None) -> Reference | None:
    """What stands between `${` and `}`, None where that refers to nothing. `item` is the name of the list's items."""
    if item is not None and (text == item or text.startswith(f"{item}.")):
        return Reference(text=text, source="item", path=_path(text[len(item) :]))
    found = _INPUT.fullmatch(text)
    if found is not None:
        return Reference(text=text, source="input", path=_path(found["path"]))
    found = _STEP.fullmatch(text)
    if found is None or (found["what"] != "output" and found["path"]):
        return None
    return Reference(text=text, source="step", path=_path(found["path"]), step=found["id"], what=found["what"])


def referred_steps(template: Any, item: str | None = None) -> Iterator[str]:
    """The ids of all steps that the template refers to."""
    for text in _texts(template):
        reference = reference_of(text, item)
        if reference is not None and reference.source == "step":
            yield reference.step


def references_to_nothing(template: Any, item: str | None = None) -> Iterator[str]:
    """Every `${…}` in the template that cannot be filled in, whatever happens."""
    for text in _texts(template):
        if reference_of(text, item) is None:
            yield f"${{{text}}}"


def _path(text: str) -> tuple[str, ...]:
    return tuple(text.split(".")[1:])


def _texts(template: Any, nesting: int = 0) -> Iterator[str]:
    if nesting > MAX_NESTING:
        return
    if isinstance(template, str):
        yield from REFERENCE.findall(template)
    elif isinstance(template, Mapping):
        for value in template.values():
            yield from _texts(value, nesting + 1)
    elif isinstance(template, list | tuple):
        for value in template:
            yield from _texts(value, nesting + 1)
