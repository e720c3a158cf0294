"""Model servers that other people wrote (scripts/peers), each a process of its own on a free port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2

from tests.support.http_client import no_certificates
from tests.support.peers import npm_peer, python_peer
from tests.support.servers.ports import free_port
from tests.support.waiting import wait_until_sync

_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "NO_COLOR": "1"}


class LLMock:
    """llmock: it fails as it is told, and grades what the client made of it."""

    def __init__(self, program: Path, url: str) -> None:
        self._program = program
        self.url = url

    async def will(self, *behaviours: Mapping[str, Any]) -> None:
        """Does this with the next requests, and forgets everything from before."""
        async with httpx2.AsyncClient(verify=no_certificates()) as client:
            (await client.post(f"{self.url}/_llmock/reset")).raise_for_status()
            if behaviours:
                told = await client.post(f"{self.url}/_llmock/scenario", json={"behaviors": list(behaviours)})
                told.raise_for_status()

    async def requests(self) -> list[dict[str, Any]]:
        """Those since the last `will`."""
        async with httpx2.AsyncClient(verify=no_certificates()) as client:
            seen: Any = (await client.get(f"{self.url}/_llmock/requests")).raise_for_status().json()
            return list(seen["requests"] if isinstance(seen, dict) else seen)

    async def verdict(self) -> dict[str, Any]:
        """On everything since the last `will`; `passed` is what `llmock report` ends by."""
        async with httpx2.AsyncClient(verify=no_certificates()) as client:
            judged: dict[str, Any] = (await client.get(f"{self.url}/_llmock/verdict")).raise_for_status().json()
            return judged

    async def report(self) -> tuple[int, str]:
        """The exit code of `llmock report` and what it says."""
        process = await asyncio.create_subprocess_exec(
            self._program,
            *("report", "--url", self.url),
            env=_ENVIRONMENT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode()


@contextlib.contextmanager
def llmock() -> Iterator[LLMock]:
    program, port = python_peer("llmock"), free_port()
    url = f"http://127.0.0.1:{port}"
    with _running([program, "serve", "--port", str(port), "--log-level", "warning"], f"{url}/health"):
        yield LLMock(program, url)


class AIMock:
    """aimock: it answers by rules, in many wire formats."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def chaos(self, **rates: float) -> None:
        """From now on, and no other."""
        async with httpx2.AsyncClient(verify=no_certificates()) as client:
            (await client.post(f"{self.url}/__aimock/chaos", json=rates)).raise_for_status()


@contextlib.contextmanager
def aimock(folder: Path, rules: Sequence[Mapping[str, Any]]) -> Iterator[AIMock]:
    """`rules` are aimock's fixtures; the first that fits the last message of the user answers."""
    program, port = npm_peer("aimock"), free_port()
    fixtures, config = folder / "rules.json", folder / "aimock.json"
    fixtures.write_text(json.dumps({"fixtures": list(rules)}))
    config.write_text(json.dumps({"llm": {"fixtures": str(fixtures)}}))
    url = f"http://127.0.0.1:{port}"
    with _running([program, "--config", config, "--port", str(port)], f"{url}/health"):
        yield AIMock(url)


@contextlib.contextmanager
def _running(command: Sequence[str | Path], health: str) -> Iterator[None]:
    process = subprocess.Popen(command, env=_ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def up() -> bool:
        assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
        with contextlib.suppress(httpx2.HTTPError):
            return httpx2.get(health, timeout=5, verify=no_certificates()).status_code == 200
        return False

    try:
        wait_until_sync(up, f"{command[0]} to answer", within=40)
        yield
    finally:
        process.terminate()
        process.wait(20)
