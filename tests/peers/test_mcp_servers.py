"""MCP servers that other people wrote: what they offer is used as they mean it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callboard.agents.tools.mcp.server_settings import McpServerSettings
from callboard.agents.tools.safe_url import UnsafeUrlError, UrlPolicy, check_addresses, check_url
from callboard.agents.tools.tool import Tool, ToolError
from tests.support.mcp_world import KeptArtifacts, McpHouse, context, mcp_house
from tests.support.peers import npm_peer, python_peer
from tests.support.servers.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
ANY = frozenset({"*"})


async def tools_of(house: McpHouse, label: str, *command: str, **more: object) -> dict[str, Tool]:
    settings = McpServerSettings(label=label, command=command, **more)  # type: ignore[arg-type]
    return await house.tools(settings)


async def test_the_time_server_tells_the_time_of_a_place() -> None:
    async with mcp_house(commands=ANY, listing_seconds=60.0) as house:
        tools = await tools_of(house, "time", str(python_peer("mcp-server-time")))
        assert {"time__get_current_time", "time__convert_time"} <= set(tools)
        said = json.loads(await tools["time__get_current_time"].call({"timezone": "Europe/Berlin"}, context()))
        assert said["timezone"] == "Europe/Berlin"
        with pytest.raises(ToolError, match=r"get_current_time of MCP server 'time' .* failed"):
            await tools["time__get_current_time"].call({"timezone": "Nowhere"}, context())


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "[fd00::1]", "10.1.2.3", "192.168.1.1"],  # noqa: S104
)
async def test_H3_the_fetch_server_refuses_the_addresses_that_we_refuse(host: str) -> None:
    async with mcp_house(commands=ANY, listing_seconds=60.0) as house:
        tools = await tools_of(house, "fetch", str(python_peer("mcp-server-fetch")))
        with pytest.raises(ToolError, match=r"Refused to fetch.*not a public address"):
            await tools["fetch__fetch"].call({"url": f"http://{host}/"}, context())
    policy = UrlPolicy(http=True)
    target = check_url(f"http://{host}/", policy)
    with pytest.raises(UnsafeUrlError, match="not a public address"):
        check_addresses(target, [target.host], policy)


async def test_the_filesystem_server_stays_in_its_folder(tmp_path: Path) -> None:
    async with mcp_house(commands=ANY, listing_seconds=60.0) as house:
        tools = await tools_of(house, "files", str(npm_peer("mcp-server-filesystem")), str(tmp_path), trust_hints=True)
        await tools["files__write_file"].call({"path": str(tmp_path / "a.txt"), "content": "hello"}, context())
        assert (tmp_path / "a.txt").read_text() == "hello"
        assert await tools["files__read_text_file"].call({"path": str(tmp_path / "a.txt")}, context()) == "hello"
        assert tools["files__read_text_file"].idempotent
        assert not tools["files__move_file"].idempotent
        with pytest.raises(ToolError, match=r"read_text_file of MCP server 'files' .*Access denied"):
            await tools["files__read_text_file"].call({"path": "/etc/passwd"}, context())


async def test_the_everything_server_answers_with_every_kind_of_content() -> None:
    artifacts = KeptArtifacts()
    async with mcp_house(commands=ANY, listing_seconds=60.0) as house:
        tools = await tools_of(house, "all", str(npm_peer("mcp-server-everything")))
        assert await tools["all__echo"].call({"message": "hi"}, context()) == "Echo: hi"
        assert await tools["all__get-sum"].call({"a": 2, "b": 3}, context()) == "The sum of 2 and 3 is 5."
        said = await tools["all__get-tiny-image"].call({}, context(artifacts))
        assert "kept as artifact:1" in said
        assert artifacts.kept[0][2].startswith(b"\x89PNG")
        weather = json.loads(await tools["all__get-structured-content"].call({"location": "New York"}, context()))
        assert set(weather) == {"temperature", "conditions", "humidity"}
        assert "demo://resource" in await tools["all__get-resource-links"].call({}, context())
        environment = json.loads(await tools["all__get-env"].call({}, context()))
        assert "HOME" not in environment


async def test_the_everything_server_is_reached_by_url() -> None:
    port = free_port()
    permitted = frozenset({f"127.0.0.1:{port}"})
    async with everything_server(port), mcp_house(permitted=permitted, listing_seconds=60.0) as house:
        tools = await house.tools(McpServerSettings(label="all", url=f"http://127.0.0.1:{port}/mcp"))
        assert await tools["all__echo"].call({"message": "hi"}, context()) == "Echo: hi"
        assert await tools["all__get-sum"].call({"a": 2, "b": 3}, context()) == "The sum of 2 and 3 is 5."
        slow = {"duration": 0.2, "steps": 2}
        assert "completed" in await tools["all__trigger-long-running-operation"].call(slow, context())


@contextlib.asynccontextmanager
async def everything_server(port: int) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        npm_peer("mcp-server-everything"),
        "streamableHttp",
        env={**os.environ, "PORT": str(port)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await wait_until(lambda: accepts(port), "the server listens", within=30.0)
        yield
    finally:
        process.kill()
        await process.wait()


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_G6_a_slow_call_of_the_everything_server_ends_at_its_deadline() -> None:
    async with mcp_house(commands=ANY, listing_seconds=60.0) as house:
        command = str(npm_peer("mcp-server-everything"))
        patient = await tools_of(house, "all", command)
        hasty = await tools_of(house, "all", command, timeout_seconds=0.5)
        slow = {"duration": 20, "steps": 2}
        with pytest.raises(ToolError, match=r"MCP server 'all' .* did not answer within 0.5 s") as caught:
            await hasty["all__trigger-long-running-operation"].call(slow, context())
        assert caught.value.outcome_unknown
        assert await patient["all__echo"].call({"message": "hi"}, context()) == "Echo: hi"
