"""Calls of a project's tools: what they get and give, and that a bad one is an error and nothing more."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest
from pydantic import JsonValue

from callboard.agents.tools.tool import ToolError
from tests.unit.agents.tools.project.workbench import Workbench, workbench

pytestmark = pytest.mark.slow

CODE = '''
import asyncio
import contextlib
import ctypes
import os
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydantic import BaseModel

from callboard.tools import RefusedError, tool


class Span(BaseModel):
    first: date
    last: date


@dataclass
class Found:
    days: int
    when: date


@tool(idempotent=True)
def days(span: Span, more: int = 0) -> Found:
    """Counts."""
    return Found((span.last - span.first).days + more, span.last)


@tool
async def soon(text: str) -> str:
    """Waits."""
    await asyncio.sleep(0)
    return text


@tool
def aloud(words: str) -> None:
    """Prints."""
    print(words)


@tool
def nothing() -> None:
    """Does it."""


@tool
def given(text: str, options: dict | None = None) -> dict:
    """Tells what it was given."""
    return {"text": text, "options": options, "variables": sorted(os.environ), "file": __file__}


@tool
def does(how: str) -> object:
    """Is bad."""
    match how:
        case "refuse":
            raise RefusedError("not on Sundays")
        case "raise":
            raise LookupError("no such row")
        case "invalid":
            Span(first="x", last="y")
        case "object":
            return object()
        case "huge":
            return "x" * 5_000_000
        case "half":
            return "\\ud800"
        case "segfault":
            return ctypes.string_at(0)
        case "exit":
            os._exit(3)
        case "memory":
            return len(bytearray(1 << 40))
        case "print":
            while True:
                print("x" * 65536)
        case "forge":
            for descriptor in range(3, 20):
                with contextlib.suppress(OSError):
                    os.write(descriptor, (2).to_bytes(8, "big") + b"[]")
        case "forge more":
            body = b'{"result": "{}}"}'
            for descriptor in range(3, 20):
                with contextlib.suppress(OSError):
                    os.write(descriptor, len(body).to_bytes(8, "big") + body)
        case "stop":
            os.kill(os.getpid(), 19)


@tool(idempotent=True)
def again(how: str) -> str:
    """Is bad, and may be repeated."""
    return str(does(how))
'''


@pytest.fixture
async def bench(tmp_path: Path) -> Workbench:
    (tmp_path / "tools").mkdir()
    made = workbench(tmp_path / "tools")
    made.write("works.py", CODE)
    await made.watch.start()
    assert made.told() == []
    return made


async def test_arguments_are_converted_and_results_are_text(bench: Workbench) -> None:
    span: dict[str, JsonValue] = {"first": "2026-01-01", "last": "2026-01-05"}
    answer = await bench.call("days", span=span, more=1)
    assert json.loads(answer) == {"days": 5, "when": "2026-01-05"}
    assert await bench.call("soon", text="ää") == "ää"
    assert await bench.call("nothing") == "done"
    assert await bench.call("does", how="half") == "?"


async def test_H6_a_tool_gets_its_options_and_none_of_our_variables(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
    said = json.loads(await bench.call("given", {"token": "s3"}, text="x"))
    assert said["options"] == {"token": "s3"}
    assert "ANTHROPIC_API_KEY" not in said["variables"]
    assert said["file"] == str(bench.folder / "works.py")
    with pytest.raises(ToolError, match="soon takes no options"):
        await bench.call("soon", {"token": "s3"}, text="x")


@pytest.mark.parametrize(
    ("how", "said", "unknown"),
    [
        ("refuse", "does: not on Sundays", False),
        ("raise", "does failed: LookupError: no such row", True),
        ("invalid", "does failed: ValidationError", True),
        ("object", "does failed: PydanticSerializationError", True),
        ("huge", "the limit is 4194304", True),
        ("segfault", "does was ended by signal 11", True),
        ("exit", "does ended with code 3 without an answer", True),
        ("memory", "does failed: MemoryError", True),
        ("forge", "does gave an answer that cannot be read", True),
        ("forge more", "does gave an answer that cannot be read", True),
        ("print", "does was ended: it printed more than 8388608 bytes", True),
    ],
)
async def test_C5_a_bad_tool_is_an_error_whose_outcome_is_known_only_where_it_says_so(
    bench: Workbench, how: str, said: str, unknown: bool
) -> None:
    with pytest.raises(ToolError, match=said) as caught:
        await bench.call("does", how=how)
    assert caught.value.outcome_unknown is unknown


async def test_what_may_be_repeated_leaves_nobody_in_doubt(bench: Workbench) -> None:
    for how in ("raise", "exit"):
        with pytest.raises(ToolError) as caught:
            await bench.call("again", how=how)
        assert not caught.value.outcome_unknown


async def test_arguments_that_do_not_fit_are_told_and_nothing_is_done(bench: Workbench) -> None:
    for arguments, said in (
        ({"span": {"first": "2026-01-01", "last": "soon"}}, "days: span.last: "),
        ({"span": 1}, "days: span: "),
        ({}, "days: span: Missing required argument"),
    ):
        with pytest.raises(ToolError, match=said) as caught:
            await bench.call("days", **arguments)
        assert not caught.value.outcome_unknown


async def test_what_a_tool_prints_is_a_log_line_of_its_run(bench: Workbench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await bench.call("aloud", words="canary of the printer")
    assert [record for record in caplog.records if record.getMessage() == "a tool printed"]


async def test_F4_a_call_that_stands_still_is_killed(bench: Workbench) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await bench.call("does", how="stop")
