"""Structured logs: one JSON object a line, with the trace id of what is going on, and no secrets.

`StructuredLogger` writes through the standard library's logging, so other libraries' records take the same way out.
`configure` builds that way out: a line is made (bounded and redacted) in the thread that logs, and written by a thread
of its own, so that a slow terminal or disk never holds up the event loop; when too many lines wait, new ones are
dropped and the number of the dropped is told.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TextIO

from callboard.log_file import LOG_NAME, RotatedLogFile, read_log
from callboard.log_lines import LineFormat, Record
from callboard.log_writer import LogWriter
from callboard.redaction import Redactor
from callboard.tracing import generate_trace_id

__all__ = [
    "LogPipeline",
    "LogSettings",
    "LogSink",
    "Redactor",
    "StructuredLogger",
    "bind_trace",
    "bound_fields",
    "configure",
    "current_trace",
    "generate_trace_id",
    "read_log",
]

_ROOT = "callboard"
_bound: ContextVar[Mapping[str, Any] | None] = ContextVar("callboard_log_fields", default=None)


def current_trace() -> str | None:
    """The trace id bound in this context, if any."""
    trace_id = bound_fields().get("trace_id")
    return trace_id if isinstance(trace_id, str) else None


def bound_fields() -> Mapping[str, Any]:
    """What `bind_trace` has put on every line of this context, `trace_id` among it."""
    return _bound.get() or {}


@contextlib.contextmanager
def bind_trace(trace_id: str | None = None, **fields: Any) -> Iterator[str]:
    """Put `trace_id` and fields such as `run_id`, `agent_id`, `event_id` on every log line inside; yields the trace id.

    Without a trace id the outer one stays, or a new one begins. Tasks started inside inherit it; nesting adds.
    """
    chosen = trace_id or current_trace() or generate_trace_id()
    token = _bound.set({**bound_fields(), **fields, "trace_id": chosen})
    try:
        yield chosen
    finally:
        _bound.reset(token)


class LogSink(Protocol):
    """Where a logger sends its records; a `logging.Logger` is one."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the standard library's name
        """Whether a record of that level would be kept."""
        ...

    def handle(self, record: logging.LogRecord) -> None:
        """Take the record; must not raise and must not block for long."""
        ...


class StructuredLogger:
    """Writes the log lines of one component; fields become keys of the line.

    `trace_id`, `run_id`, `agent_id`, `event_id` and `duration_ms` have their own meaning on a line; fields named like a
    part of the line itself (`timestamp`, `level`, `component`, `message`) get a `field_` before their name.
    """

    def __init__(self, component: str, sink: LogSink | None = None) -> None:
        self.component = component
        self._sink: LogSink = sink if sink is not None else logging.getLogger(f"{_ROOT}.{component}")

    def debug(self, message: str, **fields: Any) -> None:
        """What only somebody who looks for a fault wants to read."""
        self._log(logging.DEBUG, message, fields)

    def info(self, message: str, **fields: Any) -> None:
        """What happened, in normal operation."""
        self._log(logging.INFO, message, fields)

    def warning(self, message: str, *, exc_info: bool | BaseException = False, **fields: Any) -> None:
        """Something went wrong and was dealt with."""
        self._log(logging.WARNING, message, fields, exc_info)

    def error(self, message: str, *, exc_info: bool | BaseException = False, **fields: Any) -> None:
        """Something failed; with `exc_info` the stack trace stands in `exception`."""
        self._log(logging.ERROR, message, fields, exc_info)

    def exception(self, message: str, **fields: Any) -> None:
        """`error` with the exception being handled."""
        self._log(logging.ERROR, message, fields, exc_info=True)

    def _log(self, level: int, message: str, fields: Mapping[str, Any], exc_info: bool | BaseException = False) -> None:
        if not self._sink.isEnabledFor(level):
            return
        error = sys.exc_info()[1] if exc_info is True else exc_info or None
        caught = (type(error), error, error.__traceback__) if error is not None else None
        self._sink.handle(Record(f"{_ROOT}.{self.component}", self.component, level, message, fields, caught))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How logs come out; `folder` None keeps no copy on disk, `secrets` are the values never to be written.

    `name` is that of the file in the folder: processes that share a folder have one each.
    """

    level: str = "INFO"
    library_level: str = "WARNING"
    folder: Path | None = None
    name: str = LOG_NAME
    secrets: tuple[str, ...] = ()
    max_bytes: int = 10 * 1024 * 1024
    backups: int = 5
    max_waiting: int = 10_000


class LogPipeline:
    """The way out of all logs of this process, from `configure` to `close`; also a context manager."""

    def __init__(self, handler: logging.Handler, writer: LogWriter, redactor: Redactor) -> None:
        self.redactor = redactor
        self._handler = handler
        self._writer = writer
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> LogPipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def install(self, *, level: str, library_level: str) -> None:
        """Take over the root logger, warnings and what Python says about uncaught exceptions."""
        self._take_over_root(level, library_level)
        self._take_over_hooks()

    def flush(self, within_seconds: float = 2.0) -> bool:
        """Wait until all lines are written; False when they could not be in that time."""
        return self._writer.flush(within_seconds)

    def close(self) -> None:
        """Write what waits, give back what `configure` took over. May be called twice."""
        self._undo.close()
        self._writer.close()

    def _take_over_root(self, level: str, library_level: str) -> None:
        root, ours = logging.getLogger(), logging.getLogger(_ROOT)
        before = (root.level, ours.level, list(root.handlers))
        root.handlers[:] = [self._handler]
        root.setLevel(library_level.upper())
        ours.setLevel(level.upper())
        logging.captureWarnings(True)

        def restore() -> None:
            logging.captureWarnings(False)
            root.setLevel(before[0])
            ours.setLevel(before[1])
            root.handlers[:] = before[2]

        self._undo.callback(restore)

    def _take_over_hooks(self) -> None:
        hook, thread_hook, unraisable = sys.excepthook, threading.excepthook, sys.unraisablehook
        log = StructuredLogger("process")

        def on_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            if issubclass(kind, KeyboardInterrupt):
                return
            log.error("uncaught exception", exc_info=error)
            self.flush()

        def on_thread(args: threading.ExceptHookArgs) -> None:
            if args.exc_value is not None:
                name = args.thread.name if args.thread is not None else None
                log.error("uncaught exception in a thread", thread=name, exc_info=args.exc_value)

        def on_unraisable(args: Any) -> None:
            log.error("exception that could not be raised", where=args.err_msg, exc_info=args.exc_value or False)

        def restore() -> None:
            sys.excepthook, threading.excepthook, sys.unraisablehook = hook, thread_hook, unraisable

        sys.excepthook, threading.excepthook, sys.unraisablehook = on_uncaught, on_thread, on_unraisable
        self._undo.callback(restore)


class _PipelineHandler(logging.Handler):
    """From the standard library's records to finished lines."""

    def __init__(self, lines: LineFormat, writer: LogWriter) -> None:
        super().__init__()
        self._lines = lines
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write(self._lines.format(record, bound_fields()))
        except Exception:  # noqa: BLE001 - a log line must never break what it reports on
            self._writer.count_lost()

    def flush(self) -> None:
        self._writer.flush(2.0)


def configure(settings: LogSettings, *, stream: TextIO | None = None, redactor: Redactor | None = None) -> LogPipeline:
    """Send all logs of this process to `stream` (stdout) and to the log folder, until the pipeline is closed.

    The `redactor` may be shared with others that write what a person reads (error bodies, Slack messages).
    A ValueError names a level that does not exist.
    """
    _check_levels((settings.level, settings.library_level))
    known = redactor if redactor is not None else Redactor()
    known.add(*settings.secrets)
    file = None
    if settings.folder is not None:
        file = RotatedLogFile(
            settings.folder, max_bytes=settings.max_bytes, backups=settings.backups, name=settings.name
        )
    lines = LineFormat(known)
    writer = LogWriter(
        stream if stream is not None else sys.stdout,
        file,
        max_waiting=settings.max_waiting,
        lost_line=lambda count: lines.notice("logs", "log lines dropped: the output did not keep up", dropped=count),
    )
    pipeline = LogPipeline(_PipelineHandler(lines, writer), writer, known)
    pipeline.install(level=settings.level, library_level=settings.library_level)
    return pipeline


def _check_levels(levels: Iterable[str]) -> None:
    known = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    for level in levels:
        if level.upper() not in known:
            raise ValueError(f"unknown log level {level!r} (use one of {', '.join(known)})")
