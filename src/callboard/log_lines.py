"""One log record as one line of JSON: bounded, redacted, plain ASCII."""

from __future__ import annotations

import json
import logging
import math
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import MappingProxyType, TracebackType
from typing import Any

import orjson

from callboard.redaction import Redactor

MAX_TEXT = 8_000
MAX_EXCEPTION = 16_000
MAX_LINE = 64_000
MAX_ITEMS = 50
MAX_DEPTH = 5
_MAX_NAME = 100
_OWN_NAMES = frozenset({"timestamp", "level", "component", "message", "exception"})
_FIRST = ("trace_id", "run_id", "agent_id", "event_id", "duration_ms", "tenant")
_PLAIN_TYPES = frozenset({str, int, float, bool, type(None)})
_MAX_PLAIN = 2_000
_NOT_PLAIN = ("\\n", "\\r", "\x7f")
"""Line breaks, over which a secret may be broken, and the one character that is ASCII and no text."""


Caught = tuple[type[BaseException], BaseException, TracebackType | None]
_NOT_LOOKED_UP: Mapping[str, Any] = MappingProxyType(
    {
        "args": None,
        "pathname": "",
        "filename": "",
        "module": "",
        "exc_text": None,
        "stack_info": None,
        "lineno": 0,
        "funcName": None,
        "relativeCreated": 0.0,
        "thread": None,
        "threadName": None,
        "processName": None,
        "process": None,
    }
)


class Record(logging.LogRecord):
    """A line of ours. The standard library's way of making one finds out file, thread and process, which no line shows
    and which cost as much as the rest of it."""

    def __init__(
        self,
        name: str,
        component: str,
        level: int,
        message: str,
        fields: Mapping[str, Any],
        caught: Caught | None,
    ) -> None:
        created = time.time()
        vars(self).update(
            _NOT_LOOKED_UP,
            name=name,
            msg=message,
            levelno=level,
            levelname=logging.getLevelName(level),
            exc_info=caught,
            created=created,
            msecs=int(created % 1 * 1000),
            component=component,
            fields=fields,
        )


class LineFormat:
    """Makes lines that hold whatever they are given.

    A line is always one valid JSON object in ASCII, so no newline, escape sequence or quotation mark of a field can
    forge a second line or reach a terminal. Long texts keep beginning and end; deep or wide values are cut; a value
    that cannot be shown is named by its type.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def format(self, record: logging.LogRecord, bound: Mapping[str, Any]) -> str:
        """The line of a record, with the fields bound in its context; the record's own fields win."""
        return self._plain(record, bound) or self._careful(record, bound)

    def _plain(self, record: logging.LogRecord, bound: Mapping[str, Any]) -> str | None:
        """What `_careful` makes of a short record without any secret, for a quarter of the time; None for all others.

        The whole line is looked through once, not each of its parts.
        """
        if record.exc_info or record.exc_text or record.args or type(record.msg) is not str:
            return None
        fields = {"tenant": "default", **bound, **getattr(record, "fields", {})}
        component, trace_id = getattr(record, "component", record.name), fields.pop("trace_id", "")
        if len(component) > _MAX_NAME or type(trace_id) is not str or len(trace_id) > _MAX_NAME:
            return None
        line: dict[str, Any] = {
            "timestamp": _timestamp(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname,
            "component": component,
            "message": record.msg,
            "trace_id": trace_id,
        }
        for name in _FIRST:
            if name in fields:
                line[name] = fields.pop(name)
        if len(fields) > MAX_ITEMS or not _OWN_NAMES.isdisjoint(fields):
            return None
        line.update(fields)
        for name, value in line.items():
            if len(name) > _MAX_NAME or not (type(value) in _PLAIN_TYPES or _is_list_of_texts(value)):
                return None
            if type(value) is float and not math.isfinite(value):
                return None
        try:
            data = orjson.dumps(line)
        except orjson.JSONEncodeError:
            return None
        if len(data) > _MAX_PLAIN or not data.isascii():
            return None
        text = data.decode("ascii")
        if any(part in text for part in _NOT_PLAIN) or self._redactor.finds_in(text):
            return None
        return text

    def _careful(self, record: logging.LogRecord, bound: Mapping[str, Any]) -> str:
        fields = {"tenant": "default", **bound, **getattr(record, "fields", {})}
        line = {
            "timestamp": _timestamp(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname,
            "component": self._text(getattr(record, "component", record.name), _MAX_NAME),
            "message": self._text(_message_of(record), MAX_TEXT),
            "trace_id": self._text(str(fields.pop("trace_id", "")), _MAX_NAME),
        }
        for name in _FIRST:
            if name in fields:
                line[name] = self._value(fields.pop(name), 0)
        for name, value in list(fields.items())[:MAX_ITEMS]:
            key = self._text(name, _MAX_NAME)
            line[f"field_{key}" if key in _OWN_NAMES else key] = self._value(value, 0)
        if record.exc_info:
            line["exception"] = self._exception(record.exc_info[1])
        elif record.exc_text:
            line["exception"] = self._text(record.exc_text, MAX_EXCEPTION)
        return _bounded(line)

    def notice(self, component: str, message: str, **fields: Any) -> str:
        """A line about the logs themselves, made outside of any context."""
        record = logging.LogRecord(component, logging.WARNING, "", 0, message, None, None)
        record.fields = fields
        return self.format(record, {})

    def _exception(self, error: BaseException | None) -> str:
        if error is None:
            return ""
        try:
            text = "".join(traceback.format_exception(error))
        except Exception:  # noqa: BLE001 - an exception whose text raises is still reported
            text = f"{type(error).__name__} (its text could not be made)"
        return self._text(text.rstrip(), MAX_EXCEPTION)

    def _text(self, text: str, limit: int) -> str:
        return self._redactor.clip(text, limit)

    def _value(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Enum):
            return self._value(value.value, depth)
        if isinstance(value, str):
            return self._text(value, MAX_TEXT)
        if isinstance(value, int | float):
            return self._number(value)
        if isinstance(value, datetime):
            return _timestamp(value)
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            return self._collection(value, depth)
        return self._text(_shown(value), MAX_TEXT)

    def _number(self, value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        if isinstance(value, int) and value.bit_length() > 1024:
            return f"an integer of {value.bit_length()} bits"
        text = str(value)
        return value if self._redactor.redact(text) == text else self._redactor.redact(text)

    def _collection(self, value: Any, depth: int) -> Any:
        if depth >= MAX_DEPTH:
            return f"[{type(value).__name__} of {len(value)}]"
        if isinstance(value, Mapping):
            pairs = list(value.items())
            shown = {
                self._text(_shown(key), _MAX_NAME): self._value(item, depth + 1) for key, item in pairs[:MAX_ITEMS]
            }
            return shown if len(pairs) <= MAX_ITEMS else {**shown, "…": f"{len(pairs) - MAX_ITEMS} more"}
        items = list(value)
        listed = [self._value(item, depth + 1) for item in items[:MAX_ITEMS]]
        return listed if len(items) <= MAX_ITEMS else [*listed, f"… {len(items) - MAX_ITEMS} more"]


def _is_list_of_texts(value: object) -> bool:
    return type(value) is list and len(value) <= MAX_ITEMS and all(type(item) is str for item in value)


def _bounded(line: dict[str, Any]) -> str:
    text = json.dumps(line, ensure_ascii=True, separators=(",", ":"))
    if len(text) <= MAX_LINE:
        return text
    kept = {
        key: value
        for key, value in line.items()
        if key in _OWN_NAMES or key in _FIRST or len(json.dumps(value, ensure_ascii=True)) <= _MAX_NAME
    }
    for key in ("exception", "message"):
        if key in kept and len(json.dumps(kept)) > MAX_LINE:
            kept[key] = kept[key][: MAX_LINE // 20]
    kept["cut_from_characters"] = len(text)
    shortest = json.dumps(kept, ensure_ascii=True, separators=(",", ":"))
    if len(shortest) <= MAX_LINE:
        return shortest
    bare = {key: str(kept[key])[:_MAX_NAME] for key in ("timestamp", "level", "component", "message", "trace_id")}
    return json.dumps(bare, ensure_ascii=True, separators=(",", ":"))


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a library's wrong format string is not ours to fail on
        return str(record.msg)


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - the log never fails on what it is given
        return f"[{type(value).__name__}]"


def _timestamp(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
