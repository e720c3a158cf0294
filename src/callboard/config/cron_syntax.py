"""Reads a cron expression only far enough to say which field is wrong; the scheduler computes with it."""

from __future__ import annotations

from dataclasses import dataclass

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()


_FIELDS = (
    _Field(name="minute", first=0, last=59),
    _Field(name="hour", first=0, last=23),
    _Field(name="day of month", first=1, last=31, extra=("L", "LW")),
    _Field(name="month", first=1, last=12, names=_MONTHS),
    _Field(name="weekday", first=0, last=7, names=_WEEKDAYS),
)


def cron_problem(expression: str) -> str | None:
    """What is wrong with an expression of five fields, naming the field, its value and its range; None if nothing."""
    parts = expression.upper().split()
    if len(parts) != len(_FIELDS):
        return f"has {len(parts)} fields instead of 5 (minute, hour, day of month, month, weekday)"
    for field, part in zip(_FIELDS, parts, strict=True):
        for term in part.split(","):
            problem = _term_problem(field, term)
            if problem is not None:
                return problem
    return _never(parts)


def _term_problem(field: _Field, term: str) -> str | None:
    body, slash, step = term.partition("/")
    if slash and (not _is_number(step) or int(step) == 0):
        return f"{field.name}: the step '{step}' is not a number from 1"
    if body == "*" or body in field.extra:
        return None
    if field.names is _WEEKDAYS and not slash and (body.endswith("L") or "#" in body):
        return _nth_weekday_problem(field, body)
    first, dash, last = body.partition("-")
    problem = _value_problem(field, first) or (_value_problem(field, last) if dash else None)
    if problem is None and dash and _value(field, last) < _value(field, first):
        return f"{field.name}: the range '{body}' ends before it begins"
    return problem


def _nth_weekday_problem(field: _Field, body: str) -> str | None:
    if body.endswith("L"):
        return None if body[:-1] in tuple("01234567") else f"{field.name}: '{body}' is no weekday with L, such as 5L"
    day, _, nth = body.partition("#")
    if nth not in tuple("12345"):
        return f"{field.name}: '{body}' asks for occurrence '{nth}'; a month has 1 to 5"
    return _value_problem(field, day)


def _value_problem(field: _Field, text: str) -> str | None:
    if text in field.names or (_is_number(text) and field.first <= int(text) <= field.last):
        return None
    return f"{field.name}: '{text}' is not in {field.first}-{field.last}" + (
        f" or {field.names[0]}-{field.names[-1]}" if field.names else ""
    )


def _value(field: _Field, text: str) -> int:
    return field.names.index(text) + field.first if text in field.names else int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 5


def _never(parts: list[str]) -> str | None:
    """A day that no named month has, such as 31 February."""
    days, months, weekdays = parts[2:5]
    if not days.replace(",", "").isdigit() or not months.replace(",", "").isdigit() or not weekdays.startswith("*"):
        return None
    if min(map(int, days.split(","))) > max(_LONGEST_MONTH[int(month) - 1] for month in months.split(",")):
        return f"never comes: no day {days} in month {months}"
    return None
