"""Ctrl-C while somebody waits for a run."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from aiohttp import web

TASK = "a" * 32
CODE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have had it ignored
from callboard.cli.main import main
main(["run", "writer", "x", "--wait"])
"""

pytestmark = pytest.mark.slow


async def test_ctrl_c_ends_the_watching_and_says_that_the_run_goes_on(tmp_path: Path) -> None:
    watched, gone = asyncio.Event(), asyncio.Event()

    async def accept(_: web.Request) -> web.Response:
        return web.json_response({"task_id": TASK, "trace_id": TASK, "status": "queued"}, status=202)

    async def runs(_: web.Request) -> web.Response:
        return web.json_response({"runs": [], "next_cursor": None})

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        watched.set()
        await gone.wait()
        return response

    app = web.Application()
    app.router.add_post("/api/v1/agents/invoke", accept)
    app.router.add_get("/api/v1/runs", runs)
    app.router.add_get(f"/api/v1/runs/{TASK}/events", events)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        environment = {**os.environ, "CALLBOARD_API_URL": f"http://127.0.0.1:{runner.addresses[0][1]}"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CODE, cwd=tmp_path, env=environment, stderr=asyncio.subprocess.PIPE
        )
        await watched.wait()
        process.send_signal(signal.SIGINT)
        _, told = await process.communicate()
    finally:
        gone.set()
        await runner.cleanup()
    assert process.returncode == 1
    assert b"stopped watching; the run goes on: `callboard runs show " + TASK.encode() in told
    assert b"Traceback" not in told
