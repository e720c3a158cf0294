"""The whole system against llmock, which fails as it is told and grades how its client goes on (RELIABILITY.md, G1)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from callboard.bootstrap.tuning import Tuning
from callboard.llm.circuit_breaker import BreakerSettings
from callboard.retry import Backoff
from tests.support.http_client import no_certificates
from tests.support.peers import python_peer
from tests.support.servers.ports import free_port
from tests.support.system import Callboard, callboard_at, start_embedded
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
QUICK = Tuning(breaker=BreakerSettings(failures=5, opening=Backoff(first_seconds=3.0, cap_seconds=6.0, jitter=0.2)))


def agent(url: str) -> str:
    return f"""
name: asker
agent_type: assistant
execution_mode: autonomous
llm_config: {{provider: openai, model_id: gpt-4o, base_url: "{url}/v1", timeout_seconds: 5}}
limits: {{max_attempts: 1}}
"""


@contextlib.asynccontextmanager
async def llmock(folder: Path, *options: str) -> AsyncIterator[str]:
    program = python_peer("llmock")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (folder / "llmock.log").open("w") as log:
        process = subprocess.Popen(  # noqa: ASYNC220  # it only begins here; nobody waits for it
            [program, "serve", "--port", str(port), "--tool-mode", "off", *options], stdout=log, stderr=log
        )
        try:
            async with httpx2.AsyncClient(trust_env=False, verify=no_certificates()) as http:

                async def up() -> bool:
                    with contextlib.suppress(httpx2.TransportError):
                        return (await http.get(f"{url}/health")).status_code < 500
                    return False

                await wait_until(up, "llmock answers", within=30.0)
            yield url
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 20)


async def verdict(url: str) -> dict[str, Any]:
    """What it thinks of its client; exit 1 where that misbehaved.

    Asked in a thread: the system under test lives in this event loop, and ends its process when that stands still.
    """
    graded = await asyncio.to_thread(_report, url)
    assert graded.returncode == 0, graded.stdout + graded.stderr
    found: dict[str, Any] = json.loads(graded.stdout)
    return found


def _report(url: str) -> subprocess.CompletedProcess[str]:
    command = [str(python_peer("llmock")), "report", "--url", url, "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def answers(callboard: Callboard, url: str, count: int) -> list[dict[str, Any]]:
    await callboard.write("asker", agent(url))
    tasks = [await callboard.invoke("asker", f"question {number}") for number in range(count)]

    async def done() -> bool:
        left = [task for task in tasks if await callboard.status_of(task) in ("queued", "running", "waiting")]
        return not left

    await wait_until(done, "every run has ended", within=90.0)
    return list(await asyncio.gather(*(callboard.get(f"agents/result/{task}") for task in tasks)))


@pytest.fixture
async def callboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callboard]:
    monkeypatch.setenv("OPENAI_API_KEY", "mock-key-for-llmock")
    async with callboard_at(tmp_path, partial(start_embedded, tuning=QUICK)) as running:
        yield running


async def test_G1_failures_that_pass_are_waited_out_and_every_run_is_answered(
    callboard: Callboard, tmp_path: Path
) -> None:
    rates = ("--error-rate", "429=0.2", "--error-rate", "500=0.1", "--error-rate", "503=0.1", "--error-rate", "529=0.1")
    async with llmock(tmp_path, *rates) as url:
        results = await answers(callboard, url, 12)
        assert [result["status"] for result in results] == ["succeeded"] * 12
        graded = await verdict(url)
    assert graded["attempts"] > graded["calls"]


async def test_G1_a_quota_is_kept_to_as_the_server_tells_it(callboard: Callboard, tmp_path: Path) -> None:
    async with llmock(tmp_path, "--rpm", "120") as url:
        results = await answers(callboard, url, 20)
        assert [result["status"] for result in results] == ["succeeded"] * 20
        await verdict(url)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_G1_what_no_retry_can_mend_is_not_retried(callboard: Callboard, tmp_path: Path, status: int) -> None:
    async with llmock(tmp_path, "--error-rate", f"{status}=1.0") as url:
        (result,) = await answers(callboard, url, 1)
        assert result["status"] == "failed"
        graded = await verdict(url)
    assert graded["attempts"] == 1
