"""Whoever waits at a terminal for a run that waits for a provider."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web

from callboard.cli.main import run_cli

TASK = "a" * 32
PAUSED = {"n": 1, "data": {"for": "provider", "reason": "nobody is there", "until": "2026-01-01T00:00:10+00:00"}}
STREAM = "".join(
    f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"
    for number, (name, data) in enumerate(
        [("paused", PAUSED), ("paused", PAUSED), ("end", {"task_id": TASK, "status": "succeeded", "output": "done"})], 1
    )
)


async def test_the_wait_for_a_provider_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def accept(_: web.Request) -> web.Response:
        return web.json_response({"task_id": TASK, "trace_id": TASK, "status": "queued"}, status=202)

    async def events(_: web.Request) -> web.Response:
        return web.Response(text=STREAM, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/api/v1/agents/invoke", accept)
    app.router.add_get(f"/api/v1/runs/{TASK}/events", events)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("CALLBOARD_API_URL", f"http://127.0.0.1:{runner.addresses[0][1]}")
        assert await asyncio.to_thread(run_cli, ("run", "writer", "x", "--wait")) == 0
    finally:
        await runner.cleanup()
    told = capsys.readouterr()
    assert told.out == "done\n"
    assert told.err == "waits for a provider, and goes on by itself: nobody is there\n"
