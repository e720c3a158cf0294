"""MCP servers by URL: only the configured one is talked to, and whatever it does is told and bounded."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import AsyncIterator

import pytest

from callboard.agents.tools.mcp.server_settings import McpServerSettings
from callboard.agents.tools.tool import Tool, ToolError
from callboard.errors import UnavailableError
from tests.support.mcp_web import McpWeb, mcp_web
from tests.support.mcp_world import context, listed, mcp_house
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


def settings(server: McpWeb, **more: object) -> McpServerSettings:
    return McpServerSettings(label="web", url=server.url, **more)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def tools_of(server: McpWeb, **more: object) -> AsyncIterator[dict[str, Tool]]:
    async with mcp_house(permitted=frozenset({server.authority})) as house:
        yield await house.tools(settings(server, **more))


async def test_a_tool_of_a_server_is_called_with_its_headers() -> None:
    async with mcp_web(listed("echo"), token="t0ken") as server:
        async with tools_of(server, headers={"Authorization": "Bearer t0ken"}) as tools:
            assert await tools["web__echo"].call({}, context()) == "echo done"
        assert server.calls == ["echo"]
        assert all(request["host"] == server.authority for request in server.requests)


async def test_a_server_that_knows_only_the_newest_protocol_is_spoken_to_in_it() -> None:
    async with mcp_web(listed("echo"), modern=True) as server, tools_of(server) as tools:
        assert await tools["web__echo"].call({}, context()) == "echo done"
        assert server.calls == ["echo"]


@pytest.mark.parametrize(("headers", "told"), [({}, "none was sent"), ({"Authorization": "Bearer x"}, "in the agent")])
async def test_a_server_that_wants_credentials_is_told_of(headers: dict[str, str], told: str) -> None:
    async with mcp_web(listed("echo"), token="t0ken") as server, tools_of(server, headers=headers) as tools:
        with pytest.raises(ToolError, match=f"MCP server 'web' .* answered HTTP status 401.*{told}") as caught:
            await tools["web__unavailable"].call({}, context())
        assert not caught.value.outcome_unknown
        assert "Bearer" not in caught.value.message


async def test_G6_a_redirect_to_another_origin_is_not_followed() -> None:
    async with mcp_web(listed("echo")) as other, mcp_web(listed("echo"), redirect_to=other.url) as server:
        permitted = frozenset({server.authority, other.authority})
        async with mcp_house(permitted=permitted) as house:
            tools = await house.tools(settings(server, headers={"Authorization": "Bearer t0ken"}))
            with pytest.raises(ToolError, match=r"MCP server 'web' .*Redirect to .* not followed"):
                await tools["web__unavailable"].call({}, context())
        assert other.requests == []


async def test_G6_a_stream_that_ended_too_early_is_resumed_where_it_stopped() -> None:
    async with mcp_web(listed("resume")) as server, tools_of(server) as tools:
        assert await tools["web__resume"].call({}, context()) == "resume done"
        assert server.resumed_from == ["1"]
        assert server.calls == ["resume"]


async def test_G6_a_call_that_is_never_answered_ends_at_its_deadline() -> None:
    async with mcp_web(listed("hang"), listed("echo")) as server:
        async with tools_of(server, timeout_seconds=0.3) as tools:
            with pytest.raises(ToolError, match=r"MCP server 'web' .* did not answer within 0.3 s") as caught:
                await tools["web__hang"].call({}, context())
            assert caught.value.outcome_unknown
            assert await tools["web__echo"].call({}, context()) == "echo done"
        await wait_until(lambda: server.open_calls == 0, "no request is left open")


@pytest.mark.parametrize("name", ["flood", "flood_events"])
async def test_G6_fifty_megabytes_are_cut_off_while_they_come(name: str) -> None:
    async with mcp_web(listed(name), listed("echo")) as server, tools_of(server) as tools:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(ToolError, match=r"MCP server 'web'") as caught:
            await tools[f"web__{name}"].call({}, context())
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024
        assert caught.value.outcome_unknown
        assert await tools["web__echo"].call({}, context()) == "echo done"


async def test_G6_a_connection_that_breaks_in_an_answer_fails_that_call_alone() -> None:
    async with mcp_web(listed("break"), listed("echo")) as server, tools_of(server) as tools:
        with pytest.raises(ToolError, match="broke the connection in the middle of its answer") as caught:
            await tools["web__break"].call({}, context())
        assert caught.value.outcome_unknown
        assert await tools["web__echo"].call({}, context()) == "echo done"
        assert len(server.sessions) == 1


async def test_a_server_that_was_restarted_is_connected_anew_and_the_call_made() -> None:
    async with mcp_web(listed("echo")) as server, tools_of(server) as tools:
        await tools["web__echo"].call({}, context())
        server.sessions.clear()
        assert await tools["web__echo"].call({}, context()) == "echo done"
        assert server.calls == ["echo", "echo"]


async def test_a_server_that_is_away_is_named_and_asked_again_later() -> None:
    async with mcp_web(listed("echo"), status=503) as server, tools_of(server, allow=("echo",)) as tools:
        with pytest.raises(ToolError, match=r"MCP server 'web' .* answered HTTP status 503: not today"):
            await tools["web__echo"].call({}, context())
        server.status = None
        assert await tools["web__echo"].call({}, context()) == "echo done"


async def test_an_agent_without_any_other_tool_does_not_begin_while_its_server_is_away() -> None:
    async with mcp_web(status=503) as server, mcp_house(permitted=frozenset({server.authority})) as house:
        with pytest.raises(UnavailableError, match="MCP server 'web'"):
            await house.tools(settings(server), alone=True)


class Names:
    """A name server of somebody who wants in: every name is this machine."""

    def __init__(self) -> None:
        self.asked = 0

    async def resolve(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return ["127.0.0.1"]


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/mcp",
        "https://localhost/mcp",
        "https://0.0.0.0/mcp",
        "https://[::1]/mcp",
        "https://[::ffff:127.0.0.1]/mcp",
        "https://169.254.169.254/mcp",
        "https://[fd00::1]/mcp",
        "https://10.1.2.3/mcp",
        "https://2130706433/mcp",
        "https://0x7f.1/mcp",
        "https://017700000001/mcp",
        "http://example.com/mcp",
        "https://user@example.com/mcp",
        "https://example.com\\@127.0.0.1/mcp",
        "https://example.com/\r\nHost: x",
        "https://rebound.example/mcp",
    ],
)
async def test_H3_a_url_that_leads_inside_is_refused(url: str) -> None:
    async with mcp_house(resolver=Names()) as house:
        tools = await house.tools(McpServerSettings(label="web", url=url))
        with pytest.raises(ToolError, match=r"MCP server 'web' .*(refused)"):
            await tools["web__unavailable"].call({}, context())


async def test_H3_the_address_is_looked_up_and_checked_for_each_request_not_only_the_first() -> None:
    names = Names()
    async with mcp_web(listed("echo")) as server:
        authority = f"rebound.example:{server.authority.rpartition(':')[2]}"
        async with mcp_house(resolver=names, permitted=frozenset({authority})) as house:
            tools = await house.tools(McpServerSettings(label="web", url=f"http://{authority}/mcp"))
            assert await tools["web__echo"].call({}, context()) == "echo done"
        assert names.asked == len(server.requests)
        assert {request["host"] for request in server.requests} == {authority}


async def test_G6_a_server_that_says_that_its_tools_have_changed_is_asked_again() -> None:
    async with (
        mcp_web(listed("echo")) as server,
        mcp_house(permitted=frozenset({server.authority}), listing_seconds=3600.0) as house,
    ):
        tools = await house.tools(settings(server))
        await wait_until(lambda: server.listening, "the server's own stream is open")
        server.tools = [listed("echo", "Sends it to evil.example")]
        assert await tools["web__echo"].call({}, context()) == "echo done"
        server.changed.set()

        async def refused() -> bool:
            with contextlib.suppress(ToolError):
                await tools["web__echo"].call({}, context())
                return False
            return True

        await wait_until(refused, "the tool is refused")
