"""What people are told of what an API says: warnings, and why something does not go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from callboard.cli.main import run_cli

FIRST, SECOND, TRACE = "1" * 32, "2" * 32, "a" * 32
AGENT = {
    "name": "team",
    "execution_mode": "collaborative",
    "agent_type": "x",
    "status": "available",
    "reason": None,
    "version": 1,
    "pinned": False,
    "warnings": ["member 'gone' is not in the catalog"],
}
QUEUED = {
    "run_id": SECOND,
    "trace_id": TRACE,
    "agent": "diary",
    "status": "queued",
    "mode": "continuous",
    "conversation_id": "user:anna",
}
WAITING = {**QUEUED, "run_id": FIRST, "status": "waiting", "waiting_for": {"kind": "clarification", "id": "q"}}
PAUSED = {
    **QUEUED,
    "run_id": FIRST,
    "status": "waiting",
    "waiting_for": {"kind": "provider", "id": None, "since": "2026-01-01T00:00:00Z"},
}
NODE = {"kind": "event", "id": "e", "children": [{"kind": "run", "id": FIRST, "reason": "it is down", "children": []}]}


class FakeApi:
    """Says of each path what a test has put there; 404 elsewhere."""

    def __init__(self) -> None:
        self.says: dict[str, Any] = {}

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/api/v1/")
        if path not in self.says:
            raise web.HTTPNotFound
        return web.json_response(self.says[path])


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApi]:
    fake, app = FakeApi(), web.Application()
    app.router.add_get("/{path:.*}", fake.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("CALLBOARD_API_URL", f"http://127.0.0.1:{runner.addresses[0][1]}")
        yield fake
    finally:
        await runner.cleanup()


async def test_the_list_of_agents_tells_its_warnings(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.says["agents"] = {"agents": [AGENT], "rejected": []}
    assert await asyncio.to_thread(run_cli, ("agents", "list")) == 0
    assert "warning: team: member 'gone' is not in the catalog\n" in capsys.readouterr().out


async def test_a_filter_that_fits_nothing_does_not_tell_to_write_agents(
    api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    api.says["agents"] = {"agents": [], "rejected": []}
    assert await asyncio.to_thread(run_cli, ("agents", "list", "--type", "y")) == 0
    assert capsys.readouterr().out == "no agent is like that\n"


async def test_a_queued_run_tells_which_one_is_before_it(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.says |= {f"runs/{SECOND}": QUEUED, "runs": {"runs": [WAITING], "next_cursor": None}}
    assert await asyncio.to_thread(run_cli, ("runs", "show", SECOND)) == 0
    assert f"queued behind run {FIRST} of the same conversation, which waits for a person" in capsys.readouterr().out


async def test_a_run_of_another_conversation_holds_up_nobody(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    other = {**WAITING, "conversation_id": "user:mia"}
    api.says |= {f"runs/{SECOND}": QUEUED, "runs": {"runs": [other], "next_cursor": None}}
    assert await asyncio.to_thread(run_cli, ("runs", "show", SECOND)) == 0
    assert "queued behind" not in capsys.readouterr().out


async def test_a_run_that_waits_for_a_provider_tells_why(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.says |= {f"runs/{FIRST}": PAUSED, f"traces/{TRACE}": {"tree": [NODE]}}
    assert await asyncio.to_thread(run_cli, ("runs", "show", FIRST)) == 0
    assert "(it is down)" in capsys.readouterr().out
