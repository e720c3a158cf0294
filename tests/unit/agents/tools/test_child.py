"""Project code in child processes: it answers, or is ended, and never takes Callboard with it."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest
import uvloop

from callboard.agents.tools.child import ChildRunner
from callboard.agents.tools.tool import ToolError
from tests.support.waiting import wait_until

CODE = "tests.unit.agents.tools.project_code"
ROOT = str(Path(__file__).parents[4])

pytestmark = pytest.mark.slow


def runner() -> ChildRunner:
    return ChildRunner(search_path=(ROOT,))


def gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


async def test_a_function_answers_with_text_and_anything_else_comes_as_json() -> None:
    assert await runner().run(f"{CODE}:greet", {"name": "Ada"}, cpu_seconds=5) == "hello Ada"
    assert json.loads(await runner().run(f"{CODE}:figures", {}, cpu_seconds=5)) == {"a": 1}


async def test_H6_a_child_sees_no_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "canary")
    assert "SLACK_BOT_TOKEN" not in await runner().run(f"{CODE}:environment", {}, cpu_seconds=5)


async def test_what_a_function_prints_is_told_beside_its_answer() -> None:
    printed: list[str] = []
    answer = await runner().run(f"{CODE}:says", {"words": "loud"}, cpu_seconds=5, printed=printed.append)
    assert (answer, printed) == ("said", ["loud\nand complains"])
    with pytest.raises(ToolError, match="ended with code 3"):
        await runner().run(f"{CODE}:leaves", {}, cpu_seconds=5, printed=printed.append)
    assert printed[1:] == ["out of paper"]


async def test_a_copy_that_a_function_makes_of_its_process_gives_no_answer() -> None:
    assert await runner().run(f"{CODE}:copies", {}, cpu_seconds=5) == "original"


async def test_H5_a_function_gets_the_memory_it_may_have() -> None:
    assert await runner().run(f"{CODE}:takes", {"size": 1000}, cpu_seconds=5, memory_bytes=1 << 30) == "1000"
    with pytest.raises(ToolError, match="MemoryError"):
        await runner().run(f"{CODE}:takes", {"size": 2 << 30}, cpu_seconds=5, memory_bytes=1 << 30)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("raises", "LookupError: no such row"),
        ("segfault", "was ended by signal 11"),
        ("leaves", "ended with code 3 without an answer: out of paper"),
        ("huge", "the limit is 4194304"),
        ("missing", "has no attribute 'missing'"),
    ],
)
async def test_C5_code_that_fails_or_crashes_is_an_error_of_the_tool(function: str, said: str) -> None:
    with pytest.raises(ToolError, match=said) as caught:
        await runner().run(f"{CODE}:{function}", {}, cpu_seconds=5)
    assert caught.value.outcome_unknown


async def test_F4_a_cancelled_call_is_killed_with_everything_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    call = asyncio.create_task(runner().run(f"{CODE}:hold", {"pid_file": str(pid_file)}, cpu_seconds=5))
    await wait_until(pid_file.exists, "the child has started a child of its own")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    for pid in map(int, pid_file.read_text().split()):
        await wait_until(partial(gone, pid), f"process {pid} has ended")


def test_children_work_on_the_event_loop_of_the_product() -> None:
    async def greet_and_crash() -> str:
        with pytest.raises(ToolError, match="was ended by signal 11"):
            await runner().run(f"{CODE}:segfault", {}, cpu_seconds=5)
        return await runner().run(f"{CODE}:greet", {"name": "Ada"}, cpu_seconds=5)

    assert uvloop.run(greet_and_crash()) == "hello Ada"


async def test_F4_code_that_never_yields_is_ended_by_its_processor_time() -> None:
    with pytest.raises(ToolError, match="was ended by signal"):
        await runner().run(f"{CODE}:burn", {}, cpu_seconds=1)
