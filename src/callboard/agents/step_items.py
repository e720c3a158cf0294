"""A step that is done once for each item of a list: the list, the places of its runs, what they come to; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from callboard.agents.mapping import MAX_FILLED_BYTES, Scope, fill, json_text
from callboard.errors import InvalidInputError
from callboard.state.plans import MAX_ITEMS, OnFailure, PlanStep, StepState, StepStatus


def item_path(step: str, index: int) -> str:
    """The place of one item's run in the plan, and the step's path in the keys of its effects."""
    return f"{step}[{index}]"


def place(path: str) -> tuple[str, int | None]:
    """The step's id and, in `ID[3]`, the number of the item."""
    name, bracket, index = path.partition("[")
    return name, int(index.rstrip("]")) if bracket else None


def items_of(step: PlanStep, scope: Scope) -> list[Any]:
    """The list that the step is done for. A text that is a JSON list counts as one: models answer in text.

    Raises InvalidInputError (`bad_list`) for anything else and for more than MAX_ITEMS items.
    """
    value = fill(step.for_each, scope)
    if isinstance(value, str):
        value = _list_in(value)
    if not isinstance(value, list | tuple):
        raise InvalidInputError(f"for_each {step.for_each!r} gives no list", code="bad_list")
    if len(value) > MAX_ITEMS:
        raise InvalidInputError(
            f"for_each {step.for_each!r} gives {len(value)} items, {MAX_ITEMS} are allowed", code="bad_list"
        )
    return list(value)


def begun(count: int) -> StepState:
    """Nothing to do for an empty list."""
    if not count:
        return StepState(status=StepStatus.SUCCEEDED, output=[], items=())
    return StepState(status=StepStatus.RUNNING, items=(StepState(),) * count)


def halted(state: StepState, rule: OnFailure) -> bool:
    """Whether no more of its items may begin: one has failed, and that is not to be passed over."""
    return rule != "continue" and any(item.status is StepStatus.FAILED for item in state.items or ())


def items_ended(state: StepState, rule: OnFailure) -> StepState:
    """The step's state with what has become of its items: outputs in the list's order, null where one failed."""
    items = state.items or ()
    failed = [index for index, item in enumerate(items) if item.status is StepStatus.FAILED]
    running = any(item.status is StepStatus.RUNNING for item in items)
    if failed and (rule == "stop" or (rule == "revise" and not running)):
        return replace(state, status=StepStatus.FAILED, error=_told(items, failed))
    if not all(item.status.ended for item in items):
        return state
    if len(failed) == len(items):
        return replace(state, status=StepStatus.FAILED, error=_told(items, failed))
    output = [item.output for item in items]
    if len(json_text(output)) > MAX_FILLED_BYTES:
        error = f"the outputs of its items are more than {MAX_FILLED_BYTES} bytes together"
        return replace(_emptied(state), status=StepStatus.FAILED, error=error)
    done = _emptied(state)
    return replace(done, status=StepStatus.SUCCEEDED, output=output, error=_told(items, failed) if failed else None)


def _emptied(state: StepState) -> StepState:
    """The outputs stand in the step's own now."""
    return replace(state, items=tuple(replace(item, output=None) for item in state.items or ()))


def _told(items: Sequence[StepState], failed: Sequence[int]) -> str:
    first = failed[0]
    which = f"{len(failed)} of {len(items)} items failed, first" if len(failed) > 1 else "failed at"
    return f"{which} item {first}: {items[first].error}"


def _list_in(text: str) -> Any:
    try:
        return orjson.loads(text) if text.lstrip().startswith("[") else None
    except orjson.JSONDecodeError:
        return None
