"""A project's own tools: dropped into a folder, used without a restart, and harmless when they are bad."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callboard.config.tool_names import BUILT_IN_TOOLS
from tests.support.system import Callboard, Start, callboard_at
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

AGENT = """
name: clerk
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {when: "^add", call: {tool: add, args: {left: 2, right: 3}}, say: "{result}"}
    - {when: "^wrong", call: {tool: add, args: {left: 2}}, say: "{result}"}
    - {when: "^hold", call: {tool: hold, args: {}}, say: "{result}"}
limits: {max_attempts: 1}
tools: [add]
"""

ADD = '''
from callboard.tools import tool


@tool(idempotent=True)
def add(left: int, right: int) -> int:
    """Adds two numbers."""
    return left + right
'''


@pytest.fixture
async def board(tmp_path: Path, start: Start) -> AsyncIterator[Callboard]:
    (tmp_path / "tools").mkdir()
    async with callboard_at(tmp_path, start) as running:
        yield running


async def said(board: Callboard, given: str, agent: str = "clerk") -> Any:
    ended = await board.ended(await board.invoke(agent, given))
    assert ended["status"] == "succeeded", ended
    return ended["output"]


async def test_the_names_that_files_are_checked_by_are_those_that_there_are(board: Callboard) -> None:
    tools = (await board.get("tools"))["tools"]
    assert {tool["name"] for tool in tools if tool["file"] is None} == BUILT_IN_TOOLS


async def listed(board: Callboard, name: str) -> dict[str, Any] | None:
    tools = (await board.get("tools"))["tools"]
    return next((tool for tool in tools if tool["name"] == name), None)


async def until_listed(board: Callboard, name: str, there: bool = True) -> None:
    async def seen() -> bool:
        return (await listed(board, name) is not None) is there

    await wait_until(seen, f"tool {name} is {'there' if there else 'gone'}")


async def until_problem(board: Callboard, words: str) -> dict[str, Any]:
    async def told() -> Any:
        problems = (await board.get("tools"))["problems"]
        return next((problem for problem in problems if words in problem["message"]), None)

    problem: dict[str, Any] = await wait_until(told, f"a problem with {words!r}")
    return problem


async def until_status(board: Callboard, status: str) -> None:
    async def is_so() -> bool:
        agents = (await board.get("agents"))["agents"]
        return any(each["name"] == "clerk" and each["status"] == status for each in agents)

    await wait_until(is_so, f"the agent is {status}")


async def test_a_tool_is_dropped_in_used_changed_and_broken_without_a_restart(board: Callboard) -> None:
    (board.tools / "sums.py").write_text(ADD)
    await until_listed(board, "add")
    await board.write("clerk", AGENT)
    assert await said(board, "add") == "5"

    (board.tools / "sums.py").write_text(ADD.replace("left + right", "left * right"))

    async def multiplies() -> bool:
        return bool(await said(board, "add") == "6")

    await wait_until(multiplies, "the new code is called")

    (board.tools / "sums.py").write_text(ADD.replace("left + right", "left +") + "\n\n")
    problem = await until_problem(board, "SyntaxError")
    assert problem["file"].endswith("tools/sums.py")
    assert problem["line"] == 8
    assert await said(board, "add") == "6"

    (board.tools / "sums.py").write_text(ADD)

    async def adds() -> bool:
        return bool(await said(board, "add") == "5")

    await wait_until(adds, "the corrected code is called")
    assert (await board.get("tools"))["problems"] == []


async def test_an_agent_that_was_refused_for_a_missing_tool_comes_with_the_tool(board: Callboard) -> None:
    (board.agents / "clerk.yaml").write_text(AGENT)

    async def refused() -> bool:
        rejected = (await board.get("agents")).get("rejected", [])
        return "no tool 'add'" in json.dumps(rejected)

    await wait_until(refused, "the agent file is refused")
    (board.tools / "sums.py").write_text(ADD)
    await until_status(board, "available")
    assert await said(board, "add") == "5"


async def test_an_agent_is_unavailable_while_its_tool_is_gone(board: Callboard) -> None:
    (board.tools / "sums.py").write_text(ADD)
    await until_listed(board, "add")
    await board.write("clerk", AGENT)
    (board.tools / "sums.py").unlink()
    await until_status(board, "unavailable")
    answer = await board.call("POST", "/api/v1/agents/invoke", json={"agent": "clerk", "input": "add"})
    assert answer.status_code == 503
    assert "tool 'add' is not known" in answer.text
    (board.tools / "sums.py").write_text(ADD)
    await until_status(board, "available")
    assert await said(board, "add") == "5"


async def test_a_changed_schema_holds_for_the_next_call(board: Callboard) -> None:
    (board.tools / "sums.py").write_text(ADD)
    await until_listed(board, "add")
    await board.write("clerk", AGENT)
    assert "arguments.right is missing" in await said(board, "wrong")
    (board.tools / "sums.py").write_text(ADD.replace("right: int", "right: int = 40"))

    async def forty_two() -> bool:
        return bool(await said(board, "wrong") == "42")

    await wait_until(forty_two, "the default is used")


HOLD = '''
import time
from pathlib import Path

from callboard.tools import tool


@tool(idempotent=True)
def hold() -> str:
    """Waits for a file."""
    Path("{folder}/begun").touch()
    while not Path("{folder}/go").exists():
        time.sleep(0.02)
    return "old"
'''


async def test_a_call_under_way_goes_on_while_its_file_changes_and_goes(board: Callboard, tmp_path: Path) -> None:
    file = board.tools / "holding.py"
    file.write_text(HOLD.format(folder=tmp_path))
    await until_listed(board, "hold")
    await board.write("clerk", AGENT.replace("[add]", "[hold]"))
    task = await board.invoke("clerk", "hold")
    await wait_until((tmp_path / "begun").exists, "the call is under way")
    file.unlink()
    await until_listed(board, "hold", there=False)
    (tmp_path / "go").touch()
    assert (await board.ended(task))["output"] == "old"


async def test_H6_a_tool_gets_its_options_and_no_variable_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYROLL_KEY", "canary-payroll")
    (tmp_path / "tools").mkdir()
    async with callboard_at(tmp_path) as board:
        await looks_around(board)


async def looks_around(board: Callboard) -> None:
    (board.tools / "sums.py").write_text(
        """
import os
from callboard.tools import tool

@tool(idempotent=True)
def add(left: int, right: int, options: dict) -> str:
    "Looks around."
    return f"{sorted(options)} {len(options['key'])} {'PAYROLL_KEY' in os.environ}"
"""
    )
    await until_listed(board, "add")
    await board.write("clerk", AGENT.replace("[add]", '[{name: add, with: {key: "${env:PAYROLL_KEY}"}}]'))
    assert await said(board, "add") == "['key'] 14 False"
    tool = await listed(board, "add")
    assert tool is not None
    assert list(tool["parameters"]["properties"]) == ["left", "right"]
    logged = "".join(path.read_text() for path in board.logs.rglob("*") if path.is_file())
    assert "canary-payroll" not in logged


BAD = '''
import ctypes, os, sys, time
from callboard.tools import tool


@tool(idempotent=True, timeout_seconds=2)
def endless() -> str:
    """Does not end."""
    while True:
        pass


@tool(idempotent=True)
def bad(how: str) -> str:
    """Is bad."""
    if how == "exit":
        os._exit(3)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "print":
        for _ in range(1024):
            print("x" * 1024 * 1024)
    if how == "fork":
        if os.fork() == 0:
            time.sleep(0.05)
            return "child"
        time.sleep(0.3)
        return "parent"
    if how == "memory":
        return str(len(bytearray(1 << 40)))
    if how == "system exit":
        sys.exit("enough")
    if how == "raise":
        raise LookupError("no such row")
    return "good"
'''
BAD_AGENT = """
name: clerk
agent_type: helper
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - {when: loop, call: {tool: endless}, say: "{result}"}
    - {call: {tool: bad, args: {how: "{input}"}}, say: "{result}"}
limits: {max_attempts: 1}
tools: [bad, endless]
"""


async def test_H5_a_bad_tool_harms_nobody_and_is_told(board: Callboard) -> None:
    (board.tools / "badly.py").write_text(BAD)
    await until_listed(board, "bad")
    await board.write("clerk", BAD_AGENT)
    words = {
        "loop": "did not end within 2 s",
        "exit": "ended with code 3 without an answer",
        "segfault": "was ended by signal 11",
        "print": "it printed more than",
        "fork": "parent",
        "memory": "MemoryError",
        "system exit": "enough",
        "raise": "LookupError: no such row",
        "fine": "good",
    }
    outputs = await asyncio.gather(*(said(board, how) for how in words))
    for output, (how, expected) in zip(outputs, words.items(), strict=True):
        assert expected in output, how


async def test_a_file_that_hangs_holds_up_no_other(board: Callboard) -> None:
    (board.tools / "a_hangs.py").write_text("while True:\n    pass\n")
    (board.tools / "sums.py").write_text(ADD)
    await until_listed(board, "add")
    problem = await until_problem(board, "did not end within 10 s")
    assert problem["file"].endswith("tools/a_hangs.py")
