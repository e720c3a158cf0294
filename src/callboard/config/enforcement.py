"""Keys that are accepted but not enforced yet, in one place (DESIGN.md, R28).

Whoever builds the enforcement removes the line; the warning in the listings goes with it.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from callboard.config.definition import AgentDefinition, ExecutionMode
from callboard.config.problems import Path

NOT_ENFORCED: tuple[Path, ...] = ()
"""`*` stands for each entry of a list. A key counts as used where its value is not the default."""


def not_enforced(definition: AgentDefinition) -> Iterator[tuple[Path, str]]:
    """(path, warning) for each key that the file uses and nobody acts on yet, and for what cannot work as written."""
    for pattern in NOT_ENFORCED:
        for path in _used(definition, pattern, ()):
            yield path, f"{'.'.join(str(part) for part in path)} is accepted but not enforced yet"
    if definition.mode is ExecutionMode.COLLABORATIVE and not definition.collaboration.members:
        yield ("execution_mode",), "a collaborative agent without collaboration.members has nobody to work with"
    if definition.mode is not ExecutionMode.COLLABORATIVE and definition.collaboration.members:
        yield ("collaboration",), f"collaboration has no effect in execution_mode {definition.execution_mode}"


def _used(value: object, pattern: Path, before: Path) -> Iterator[Path]:
    part, *rest = pattern
    if part == "*" and isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _used(item, tuple(rest), (*before, index))
        return
    field = type(value).model_fields.get(str(part)) if isinstance(value, BaseModel) else None
    if field is None:
        return
    item = getattr(value, str(part))
    if rest:
        yield from _used(item, tuple(rest), (*before, part))
    elif item != field.get_default(call_default_factory=True):
        yield (*before, part)
