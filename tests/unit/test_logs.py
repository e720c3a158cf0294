"""Logs: one JSON object a line, whatever comes in (RELIABILITY.md: H6, H12, I9)."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.ids import SequentialIds
from callboard.log_lines import MAX_LINE, LineFormat
from callboard.logs import LogPipeline, LogSettings, Redactor, StructuredLogger, bind_trace, configure, current_trace
from tests.support.processes import child
from tests.support.waiting import wait_until_sync

CANARY = "xoxb-canary-4711"
TRACE = SequentialIds().new()


class Captured:
    """A configured pipeline and what came out of it."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.pipeline: LogPipeline = configure(LogSettings(level="DEBUG", secrets=(CANARY,)), stream=self.stream)

    def lines(self) -> list[dict[str, Any]]:
        assert self.pipeline.flush()
        return [json.loads(line) for line in self.stream.getvalue().split("\n") if line]

    def text(self) -> str:
        assert self.pipeline.flush()
        return self.stream.getvalue()


@pytest.fixture
def captured() -> Iterator[Captured]:
    captured = Captured()
    with captured.pipeline:
        yield captured


def test_a_line_has_the_parts_that_the_interface_promises(captured: Captured) -> None:
    with bind_trace(TRACE, run_id="r1", agent_id="standup"):
        StructuredLogger("pool").info("run ended", event_id="e1", duration_ms=12.5, status="succeeded")
    [line] = captured.lines()
    moment = datetime.fromisoformat(line.pop("timestamp"))
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
    assert line == {
        "level": "INFO",
        "component": "pool",
        "message": "run ended",
        "trace_id": TRACE,
        "run_id": "r1",
        "agent_id": "standup",
        "event_id": "e1",
        "duration_ms": 12.5,
        "tenant": "default",
        "status": "succeeded",
    }


def test_an_error_has_its_stack_trace(captured: Captured) -> None:
    log = StructuredLogger("pool")
    try:
        dict[str, str]()["no such thing"]
    except LookupError as error:
        log.warning("given", exc_info=error)
        log.warning("present", exc_info=True)
        log.exception("short form")
    assert [line["message"] for line in captured.lines()] == ["given", "present", "short form"]
    for line in captured.lines():
        assert "test_logs.py" in line["exception"]
        assert "KeyError: 'no such thing'" in line["exception"]


def test_a_line_without_an_exception_has_no_such_part(captured: Captured) -> None:
    StructuredLogger("pool").error("nothing raised", exc_info=True)
    [line] = captured.lines()
    assert "exception" not in line


@pytest.mark.parametrize("field", ["timestamp", "level", "component", "message", "exception"])
def test_H12_a_field_cannot_take_the_place_of_a_part_of_the_line(captured: Captured, field: str) -> None:
    record = logging.LogRecord("callboard.x", logging.INFO, "", 0, "real", None, None)
    record.component, record.fields = "x", {field: "forged"}
    logging.getLogger("callboard.x").handle(record)
    [line] = captured.lines()
    assert line[f"field_{field}"] == "forged"
    assert line.get(field) != "forged"


@pytest.mark.parametrize(
    "hostile",
    ["two\nlines", "\x1b[2J\x1b]0;title\x07", '","level":"CRITICAL","x":"', "\u2028\u202e\x85\x00", "\r\n{}"],
    ids=["newline", "escape sequence", "quotation mark", "unicode controls", "carriage return"],
)
def test_H12_hostile_text_stays_inside_its_field(captured: Captured, hostile: str) -> None:
    with bind_trace(hostile):
        StructuredLogger(hostile).info(hostile, **{hostile: hostile})
    text = captured.text()
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    assert text.isascii()
    [line] = captured.lines()
    assert line["message"] == line["component"] == line["trace_id"] == line[hostile] == hostile
    assert line["level"] == "INFO"


def test_H12_half_of_a_surrogate_pair_makes_a_valid_line() -> None:
    # Not through the root logger: the reports of pytest-xdist could not carry it.
    record = logging.LogRecord("callboard.x", logging.INFO, "", 0, "half \ud800", None, None)
    line = LineFormat(Redactor()).format(record, {"trace_id": "\udfff"})
    assert line.isascii()
    assert json.loads(line)["message"] == "half \ud800"


def test_H12_a_field_of_a_megabyte_is_cut(captured: Captured) -> None:
    big = "x" * 1_000_000
    StructuredLogger("gateway").info(big, body=big, **{f"field{number}": big for number in range(40)})
    [text] = captured.text().splitlines()
    assert len(text) <= MAX_LINE
    assert json.loads(text)["message"].startswith("xxx")


class _Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text")


_Deep: Any = []
for _ in range(5000):
    _Deep = [_Deep]


@pytest.mark.parametrize(
    "value",
    [
        _Hostile(),
        _Deep,
        float("nan"),
        10**6000,
        b"\xff\xfe",
        {1: {2: {3: {4: {5: {6: 7}}}}}},
        list(range(100_000)),
        {"é" * 10_000: object()},
        timedelta(seconds=2),
        {_Hostile(): _Hostile()},
    ],
    ids=lambda value: type(value).__name__,
)
def test_H12_a_value_of_any_kind_makes_a_valid_line(captured: Captured, value: object) -> None:
    StructuredLogger("gateway").info("still here", value=value)
    [line] = captured.lines()
    assert line["message"] == "still here"
    assert "value" in line


def test_H12_an_exception_whose_text_raises_is_logged(captured: Captured) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    StructuredLogger("pool").error("mute", exc_info=MuteError())
    [line] = captured.lines()
    assert "MuteError" in line["exception"]


@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.floats() | st.binary()))
def test_H12_any_message_and_fields_are_one_valid_bounded_line(message: str, fields: dict[str, Any]) -> None:
    record = logging.LogRecord("callboard.x", logging.INFO, "", 0, message, None, None)
    record.fields = fields
    text = LineFormat(Redactor()).format(record, {})
    assert "\n" not in text
    assert len(text) <= MAX_LINE
    assert json.loads(text, parse_constant=pytest.fail)["level"] == "INFO"


def test_H6_a_secret_is_in_no_line(captured: Captured) -> None:
    log = StructuredLogger(CANARY)
    with bind_trace(CANARY, **{CANARY: CANARY}):
        log.debug(CANARY, url=f"https://x/?token={CANARY}", nested={"a": [{CANARY: CANARY}]})
        try:
            try:
                dict[str, str]()[CANARY]
            except KeyError as error:
                raise RuntimeError(f"with {CANARY}") from error
        except RuntimeError:
            log.exception("failed")
    logging.getLogger("slack_sdk").warning("request with %s", CANARY)
    assert "canary" not in captured.text()
    assert len(captured.lines()) == 3


def test_H6_a_number_that_is_a_secret_does_not_come_out() -> None:
    record = logging.LogRecord("callboard.x", logging.INFO, "", 0, "x", None, None)
    record.fields = {"pin": 48151623}
    assert "48151623" not in LineFormat(Redactor(["48151623"])).format(record, {})


def test_other_libraries_come_out_in_the_same_form(captured: Captured) -> None:
    with bind_trace(TRACE):
        logging.getLogger("uvicorn.error").warning("started %s", "well")
    [line] = captured.lines()
    assert (line["component"], line["message"], line["trace_id"]) == ("uvicorn.error", "started well", TRACE)


def test_another_library_s_wrong_format_string_is_logged_as_it_is() -> None:
    record = logging.LogRecord("sqlalchemy", logging.WARNING, "", 0, "wrong %d arguments", ("x",), None)
    assert json.loads(LineFormat(Redactor()).format(record, {}))["message"] == "wrong %d arguments"


def test_warnings_of_python_come_out_in_the_same_form(captured: Captured) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    assert any("old thing" in line["message"] for line in captured.lines())


def test_lines_below_the_level_are_not_made() -> None:
    stream = io.StringIO()
    with configure(LogSettings(level="warning"), stream=stream):
        StructuredLogger("pool").info("quiet")
        StructuredLogger("pool").warning("loud")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_an_unknown_level_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'LOUD'"):
        configure(LogSettings(level="LOUD"))


def test_closing_gives_back_what_was_taken_over() -> None:
    before = (logging.getLogger().handlers[:], logging.getLogger().level, sys.excepthook, threading.excepthook)
    configure(LogSettings(), stream=io.StringIO()).close()
    assert before == (logging.getLogger().handlers[:], logging.getLogger().level, sys.excepthook, threading.excepthook)


async def test_the_trace_is_that_of_the_task_that_logs(captured: Captured) -> None:
    log = StructuredLogger("pool")

    async def work(name: str) -> None:
        with bind_trace(name * 32):
            await asyncio.sleep(0)
            log.info(name)

    await asyncio.gather(*(work(name) for name in "abc"))
    assert {line["message"]: line["trace_id"][0] for line in captured.lines()} == {"a": "a", "b": "b", "c": "c"}
    assert current_trace() is None


def test_binding_nests_and_keeps_the_outer_trace() -> None:
    with bind_trace(TRACE):
        with bind_trace(run_id="r1") as trace_id:
            assert trace_id == TRACE == current_trace()
        with bind_trace("b" * 32):
            assert current_trace() == "b" * 32
        assert current_trace() == TRACE


def test_without_any_trace_binding_begins_one() -> None:
    with bind_trace() as first:
        assert current_trace() == first
    with bind_trace() as second:
        assert first != second


class _StuckStream(io.StringIO):
    """An output that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def write(self, text: str) -> int:
        self.go_on.wait(60)
        return super().write(text)


def test_a_stuck_output_holds_nobody_up_and_the_loss_is_told() -> None:
    stream = _StuckStream()
    with configure(LogSettings(max_waiting=10), stream=stream):
        log = StructuredLogger("pool")
        log.info("first")
        for number in range(1000):
            log.info("line", number=number)
        assert not stream.getvalue(), "all of it was said while the output was stuck"
        stream.go_on.set()
        wait_until_sync(lambda: "dropped" in stream.getvalue(), "the loss is told")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    dropped = sum(line.get("dropped", 0) for line in lines)
    assert dropped >= 980
    assert dropped + sum(line["message"] == "line" for line in lines) == 1000


def test_a_closed_output_leaves_the_copy_on_disk(tmp_path: Path) -> None:
    stream = io.StringIO()
    stream.close()
    with configure(LogSettings(folder=tmp_path), stream=stream):
        StructuredLogger("pool").info("kept")
    assert json.loads((tmp_path / "callboard.log").read_text())["message"] == "kept"


@pytest.mark.slow
def test_H6_a_process_that_crashes_prints_its_exception_without_the_secret(tmp_path: Path) -> None:
    program = tmp_path / "crash.py"
    program.write_text(
        "import sys, threading\n"
        "from callboard.logs import LogSettings, configure\n"
        "configure(LogSettings(secrets=(sys.argv[1],)))\n"
        "def fail():\n    raise RuntimeError('in a thread ' + sys.argv[1])\n"
        "thread = threading.Thread(target=fail)\nthread.start()\nthread.join()\n"
        "raise SystemError('in the main thread ' + sys.argv[1])\n"
    )
    with child(str(program), CANARY) as process:
        assert process.exit_code() == 1
        lines = [json.loads(line) for line in process.lines]
    assert [line["message"] for line in lines] == ["uncaught exception in a thread", "uncaught exception"]
    assert "SystemError: in the main thread [redacted]" in lines[1]["exception"]
    assert CANARY not in process.output
