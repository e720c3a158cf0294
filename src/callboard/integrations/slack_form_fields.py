"""A JSON Schema's properties as the fields of a Slack form, and what was entered there as values; pure.

Texts, numbers, truth values, choices and dates have fields of their own; whatever else a schema can say is entered as
JSON. The limits are Slack's for input blocks and their elements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import orjson

from callboard.integrations.slack_text import harmless, shorten

MAX_FIELDS = 95
"""A form has at most 100 blocks, some of which are not fields."""
MAX_ENTERED = 3000
MAX_CHOICES = 100
_MAX_CHOICE = 75
_MAX_LABEL = 200
_MAX_HINT = 500
_ACTION = "value"

FieldKind = Literal["text", "long_text", "integer", "number", "boolean", "choice", "date", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One property. `choices` are the values of an enumeration; `initial` is what stands in the field at first,
    where it is `given`."""

    name: str
    block_id: str
    kind: FieldKind
    required: bool = False
    label: str = ""
    hint: str = ""
    choices: tuple[Any, ...] = ()
    limits: tuple[Any, Any] = (None, None)
    given: bool = False
    initial: Any = None


def fields_of(schema: Mapping[str, Any], values: Mapping[str, Any] | None = None) -> tuple[FormField, ...] | None:
    """A field a property, filled in from `values`; None where the schema is not one of an object that fits a form."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not 0 < len(properties) <= MAX_FIELDS:
        return None
    required = schema.get("required")
    needed = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
    fields = tuple(
        _field(str(name), number, rule if isinstance(rule, Mapping) else {}, name in needed, values)
        for number, (name, rule) in enumerate(properties.items())
    )
    return fields if all(_fits(field) for field in fields) else None


def field_block(field: FormField) -> dict[str, Any]:
    """The input block of a field; Slack marks those that are optional."""
    label = field.label if field.kind != "json" else f"{field.label} (JSON)"
    block: dict[str, Any] = {
        "type": "input",
        "block_id": field.block_id,
        "optional": not field.required,
        "label": _plain(shorten(label, _MAX_LABEL + 10)),
        "element": {"action_id": _ACTION, **_element(field)},
    }
    if field.hint:
        block["hint"] = _plain(field.hint)
    return block


def read_fields(
    fields: Sequence[FormField], entered: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The values by name, without those left empty; and what could not be read, by block."""
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for field in fields:
        text = entered.get(field.block_id, {}).get(_ACTION, "")
        if not text:
            continue
        try:
            values[field.name] = _value(field, text)
        except ValueError as error:
            problems[field.block_id] = str(error)
    return values, problems


def place_problems(fields: Sequence[FormField], problems: Sequence[str]) -> dict[str, str]:
    """Each problem (`place: what`) at the field that it is about, by block; what belongs to none at the first."""
    placed: dict[str, str] = {}
    for problem in problems:
        place, _, what = problem.partition(": ")
        field = next(
            (
                each
                for each in fields
                if place == each.name or place.startswith(f"{each.name}.") or what.startswith(f"'{each.name}' is a req")
            ),
            None,
        )
        block_id = field.block_id if field is not None else fields[0].block_id
        said = what if field is not None and place == field.name else problem
        placed[block_id] = f"{placed[block_id]}; {said}" if block_id in placed else said
    return {block_id: shorten(harmless(text), 1500) for block_id, text in placed.items()}


def as_json(value: Any) -> str:
    """For a field that holds JSON."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str).decode()


def from_json(text: str) -> Any:
    """Raises ValueError that says what is wrong."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"this is not JSON: {error}") from None


def _field(
    name: str, number: int, rule: Mapping[str, Any], required: bool, values: Mapping[str, Any] | None
) -> FormField:
    kind, choices = _kind(rule)
    title, description = rule.get("title"), rule.get("description")
    given = "default" in rule if values is None else name in values
    initial = rule.get("default") if values is None else values.get(name)
    if given and not _suits(kind, choices, initial):
        # What stands there already does not fit its field: it is shown as it is.
        kind, choices = "json", ()
    return FormField(
        name=name,
        block_id=f"field{number}",
        kind=kind,
        required=required,
        label=shorten(harmless(title if isinstance(title, str) and title.strip() else name).strip() or "?", _MAX_LABEL),
        hint=shorten(harmless(description).strip(), _MAX_HINT) if isinstance(description, str) else "",
        choices=choices,
        limits=_limits(kind, rule),
        given=given,
        initial=initial,
    )


def _kind(rule: Mapping[str, Any]) -> tuple[FieldKind, tuple[Any, ...]]:
    choices = rule.get("enum")
    if isinstance(choices, list) and 0 < len(choices) <= MAX_CHOICES:
        return "choice", tuple(choices)
    match rule.get("type"):
        case "string" if rule.get("format") == "date":
            return "date", ()
        case "string":
            return ("text" if _whole(rule.get("maxLength"), MAX_ENTERED) <= 200 else "long_text"), ()
        case "integer":
            return "integer", ()
        case "number":
            return "number", ()
        case "boolean":
            return "boolean", (True, False)
        case _:
            return "json", ()


def _suits(kind: FieldKind, choices: tuple[Any, ...], value: Any) -> bool:
    match kind:
        case "text" | "long_text":
            return isinstance(value, str)
        case "date":
            return isinstance(value, str) and _is_date(value)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean" | "choice":
            return any(value == choice and type(value) is type(choice) for choice in choices)
        case "json":
            return True


def _fits(field: FormField) -> bool:
    """Slack cuts nothing, it refuses: what is longer than its field cannot be edited in one."""
    return not field.given or len(_initial_text(field)) <= MAX_ENTERED


def _initial_text(field: FormField) -> str:
    return as_json(field.initial) if field.kind == "json" else str(field.initial)


def _limits(kind: FieldKind, rule: Mapping[str, Any]) -> tuple[Any, Any]:
    if kind in ("text", "long_text"):
        return min(_whole(rule.get("minLength"), 0), MAX_ENTERED), min(
            _whole(rule.get("maxLength"), MAX_ENTERED), MAX_ENTERED
        )
    return None, None


def _whole(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise


def _element(field: FormField) -> dict[str, Any]:
    initial = field.initial
    match field.kind:
        case "boolean" | "choice":
            options = [
                {"text": _plain(_choice_label(choice)), "value": str(number)}
                for number, choice in enumerate(field.choices)
            ]
            chosen = {"initial_option": options[_index(field.choices, initial)]} if field.given else {}
            return {"type": "static_select", "options": options, **chosen}
        case "date":
            return {"type": "datepicker", **({"initial_date": initial} if field.given else {})}
        case "integer" | "number":
            number = {"type": "number_input", "is_decimal_allowed": field.kind == "number"}
            return {**number, **({"initial_value": str(initial)} if field.given else {})}
        case _:
            low, high = field.limits
            text: dict[str, Any] = {"type": "plain_text_input", "multiline": field.kind != "text"}
            text |= {"max_length": high or MAX_ENTERED}
            if low:
                text |= {"min_length": low}
            return {**text, **({"initial_value": _initial_text(field)} if field.given else {})}


def _value(field: FormField, text: str) -> Any:
    match field.kind:
        case "boolean" | "choice":
            if not (text.isascii() and text.isdigit() and int(text) < len(field.choices)):
                raise ValueError("choose one of the options")
            return field.choices[int(text)]
        case "integer":
            return _whole_number(text)
        case "number":
            return _number(text)
        case "json":
            return from_json(text)
        case _:
            return text


def _whole_number(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a whole number") from None
    if abs(value) >= 2**63:
        raise ValueError(f"{text[:40]!r} has more than 64 bits")
    return value


def _number(text: str) -> int | float:
    value = from_json(text) if text.strip() else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{text[:40]!r} is not a number")  # noqa: TRY004  # it is what was entered
    return value


def _choice_label(choice: Any) -> str:
    if isinstance(choice, bool):
        return "Yes" if choice else "No"
    shown = choice if isinstance(choice, str) else orjson.dumps(choice, default=str).decode()
    return shorten(harmless(shown).strip() or "(empty)", _MAX_CHOICE)


def _index(choices: tuple[Any, ...], value: Any) -> int:
    return next(number for number, choice in enumerate(choices) if choice == value and type(choice) is type(value))


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}
