"""MCP servers that are commands: what they offer is called, and what they do wrong is told and harms nobody."""

from __future__ import annotations

import asyncio
import json
import os
import resource
from pathlib import Path

import pytest

from callboard.agents.tools.mcp.supervised_server import IDLE_SECONDS
from callboard.agents.tools.tool import ToolError
from callboard.clock import ManualClock
from tests.support.mcp_world import KeptArtifacts, QuickClock, context, is_alive, listed, mcp_house, script_at
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


async def test_a_tool_of_a_server_is_called_under_the_name_of_both(tmp_path: Path) -> None:
    server = script_at(tmp_path, listed("echo", "says it again"))
    async with mcp_house() as house:
        tools = await house.tools(server.settings())
        assert list(tools) == ["files__echo"]
        assert tools["files__echo"].description == "says it again"
        assert await tools["files__echo"].call({"text": "hi"}, context()) == 'echo {"text": "hi"}'
    name, arguments, meta = server.calls[0]
    assert (name, arguments) == ("echo", {"text": "hi"})
    assert meta["callboard/idempotency-key"] == "k" * 32


async def test_G6_a_server_that_dies_in_a_call_is_named_and_started_anew_for_the_next(tmp_path: Path) -> None:
    server = script_at(tmp_path, listed("die"), listed("echo"))
    async with mcp_house() as house:
        tools = await house.tools(server.settings())
        with pytest.raises(ToolError, match=r"MCP server 'files' \(.*\) ended with code 3: out of luck") as caught:
            await tools["files__die"].call({}, context())
        assert caught.value.outcome_unknown
        assert await tools["files__echo"].call({}, context()) == "echo {}"
    assert len(server.pids) == 2


async def test_G6_a_server_that_never_answers_costs_its_deadline_and_is_started_anew(tmp_path: Path) -> None:
    server = script_at(tmp_path, listed("hang"), listed("echo"))
    async with mcp_house(listing_seconds=60.0) as house:
        tools = await house.tools(server.settings(timeout_seconds=0.2))
        for _ in range(2):
            with pytest.raises(ToolError, match=r"MCP server 'files' .* did not answer within 0.2 s") as caught:
                await tools["files__hang"].call({}, context())
            assert caught.value.outcome_unknown
        assert len(server.pids) == 1
        patient = await house.tools(server.settings(timeout_seconds=5))
        assert await patient["files__echo"].call({}, context()) == "echo {}"
    assert len(server.pids) == 2


async def test_G6_fifty_megabytes_are_cut_off_while_they_come(tmp_path: Path) -> None:
    server = script_at(tmp_path, listed("flood"), listed("echo"))
    async with mcp_house() as house:
        tools = await house.tools(server.settings())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(ToolError, match="sent a message of more than 8 MiB and was stopped"):
            await tools["files__flood"].call({}, context())
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024
        assert await tools["files__echo"].call({}, context()) == "echo {}"


async def test_G6_a_server_that_chatters_without_end_is_stopped(tmp_path: Path) -> None:
    server = script_at(tmp_path, listed("chatter"), listed("echo"))
    async with mcp_house() as house:
        tools = await house.tools(server.settings())
        with pytest.raises(ToolError, match="sent more than 32 MiB unasked and was stopped"):
            await tools["files__chatter"].call({}, context())
        assert await tools["files__echo"].call({}, context()) == "echo {}"


async def test_a_server_that_cannot_start_is_left_alone_after_five_times(tmp_path: Path) -> None:
    server = script_at(tmp_path, listed("echo"))
    (tmp_path / "broken").touch()
    async with mcp_house(clock=QuickClock()) as house:
        tools = await house.tools(server.settings(allow=("echo",)))
        with pytest.raises(ToolError, match="ended with code 1: cannot read its configuration") as caught:
            await tools["files__echo"].call({}, context())
        assert not caught.value.outcome_unknown
        for _ in range(3):
            with pytest.raises(ToolError, match="ended with code 1"):
                await tools["files__echo"].call({}, context())
        with pytest.raises(ToolError, match="was started 5 times within a minute and is left alone for"):
            await tools["files__echo"].call({}, context())
    assert len(server.pids) == 5


async def test_nothing_of_a_server_outlives_its_end(tmp_path: Path) -> None:
    server = script_at(tmp_path, listed("echo"))
    (tmp_path / "stubborn").touch()
    async with mcp_house() as house:
        await house.tools(server.settings())
        assert len(server.pids) == 2
    await wait_until(lambda: not any(is_alive(pid) for pid in server.pids), "the server and its child are gone")


async def test_a_server_that_never_says_hello_is_ended_and_named(tmp_path: Path) -> None:
    server = script_at(tmp_path, listed("echo"))
    (tmp_path / "mute").touch()
    async with mcp_house(start_seconds=0.3) as house:
        tools = await house.tools(server.settings(allow=("echo",)))
        with pytest.raises(ToolError, match=r"MCP server 'files' .* did not start within 0.3 s"):
            await tools["files__echo"].call({}, context())
        (tmp_path / "mute").unlink()
        assert await tools["files__echo"].call({}, context()) == "echo {}"
    assert [is_alive(pid) for pid in server.pids] == [False, False, False]


async def test_a_server_that_is_still_starting_holds_up_no_stop(tmp_path: Path) -> None:
    server = script_at(tmp_path, listed("echo"))
    (tmp_path / "mute").touch()
    async with asyncio.timeout(15):
        async with mcp_house() as house:
            asking = asyncio.ensure_future(house.tools(server.settings()))
            await wait_until(lambda: server.pids, "the server starts")
        assert list(await asking) == ["files__unavailable"]
    assert not is_alive(server.pids[0])


async def test_a_server_that_nobody_uses_for_ten_minutes_is_ended_and_started_when_needed(tmp_path: Path) -> None:
    server = script_at(tmp_path, listed("echo"))
    clock = ManualClock()
    async with mcp_house(clock=clock, listing_seconds=1e9) as house:
        tools = await house.tools(server.settings())
        await clock.advance(IDLE_SECONDS - 70)
        assert await tools["files__echo"].call({}, context()) == "echo {}"
        await clock.advance(IDLE_SECONDS - 70)
        assert is_alive(server.pids[0])
        await clock.advance(140)
        await wait_until(lambda: not is_alive(server.pids[0]), "the idle server ends")
        assert await tools["files__echo"].call({}, context()) == "echo {}"
    assert len(server.pids) == 2


async def test_many_calls_go_over_one_server_at_a_time(tmp_path: Path) -> None:
    server = script_at(tmp_path, listed("echo"), listed("hang"))
    async with mcp_house(listing_seconds=60.0) as house:
        tools = await house.tools(server.settings())
        hanging = asyncio.ensure_future(tools["files__hang"].call({}, context()))
        said = await asyncio.gather(*(tools["files__echo"].call({"text": str(n)}, context()) for n in range(100)))
        assert said == [f'echo {{"text": "{n}"}}' for n in range(100)]
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
    assert len(server.pids) == 1


async def test_a_cancelled_call_leaves_the_server_to_others(tmp_path: Path) -> None:
    server = script_at(tmp_path, listed("hang"), listed("echo"))
    async with mcp_house(listing_seconds=60.0) as house:
        tools = await house.tools(server.settings())
        waiting = asyncio.ensure_future(tools["files__hang"].call({}, context()))
        await wait_until(lambda: server.calls, "the call has arrived")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await tools["files__echo"].call({}, context()) == "echo {}"
    assert len(server.pids) == 1


async def test_H6_a_server_gets_the_variables_of_the_agent_file_and_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLBOARD_API_TOKEN", "canary")
    server = script_at(tmp_path, listed("environment"))
    async with mcp_house() as house:
        tools = await house.tools(server.settings(env={"KEY": "given"}))
        seen = json.loads(await tools["files__environment"].call({}, context()))
    assert seen["KEY"] == "given"
    assert set(seen) <= {"KEY", "PATH", "LANG", "LC_ALL", "TZ", "LC_CTYPE"}


async def test_H9_only_commands_that_the_operator_allows_are_started(tmp_path: Path) -> None:
    server = script_at(tmp_path, listed("echo"))
    async with mcp_house(commands=frozenset({"npx"})) as house:
        tools = await house.tools(server.settings())
        with pytest.raises(ToolError, match=r"not among the commands allowed on this machine.*CALLBOARD_MCP_COMMANDS="):
            await tools["files__unavailable"].call({}, context())
    assert server.pids == []


async def test_what_a_tool_says_beside_text_is_kept_or_shown(tmp_path: Path) -> None:
    server = script_at(tmp_path, listed("picture"), listed("structured"), listed("fail"))
    artifacts = KeptArtifacts()
    async with mcp_house() as house:
        tools = await house.tools(server.settings())
        said = await tools["files__picture"].call({}, context(artifacts))
        assert said == f"here\n[image/png, {len(artifacts.kept[0][2])} bytes, kept as artifact:1]"
        assert artifacts.kept[0][:2] == ("files__picture-2.png", "image/png")
        assert await tools["files__structured"].call({}, context()) == '{"temperature": 21}'
        with pytest.raises(ToolError, match=r"fail of MCP server 'files' .* failed: the disk is full") as caught:
            await tools["files__fail"].call({}, context())
        assert not caught.value.outcome_unknown


async def test_agents_of_a_tenant_share_a_server_and_tenants_do_not(tmp_path: Path) -> None:
    server = script_at(tmp_path, listed("echo"))
    async with mcp_house() as house:
        for agent in ("a", "b"):
            tools = await house.tools(server.settings(), agent=agent)
            await tools["files__echo"].call({}, context())
        assert len(server.pids) == 1
        await house.source.tools([server.settings()], tenant="other", agent="a")
        assert len(server.pids) == 2


def test_the_process_ids_can_be_looked_at() -> None:
    assert is_alive(os.getpid())
