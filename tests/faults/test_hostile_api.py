"""Hostile callers of a running system (RELIABILITY.md A8, H12): its log stays one object a line, its memory small.

What single routes do with bad input is in tests/unit/integrations and tests/flows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import httpx2
import pytest

from callboard.clock import SystemClock
from callboard.integrations.slack_local import LocalSlack
from callboard.integrations.slack_simulator import SlackSimulator
from callboard.integrations.slack_wire import FORM, Channel, Person, SlackRequest, slash_command
from callboard.tracing import is_trace_id
from tests.support.embedded_process import EmbeddedProcess, Premises, invoke, result, running
from tests.support.http_client import no_certificates
from tests.support.slack_app import SECRET

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

AGENTS = {
    "echo": """\
name: echo
agent_type: demo
execution_mode: autonomous
llm_config: {provider: scripted, model_id: echo}
slack: {commands: [/echo]}
""",
    "bomb": """\
name: bomb
agent_type: demo
execution_mode: autonomous
llm_config: {provider: scripted, model_id: script, script: [{error: crash}]}
limits: {max_attempts: 1}
""",
}
MARK = "forged-by-a-caller"
FORGERIES = (
    f'\n{{"level":"INFO","message":"{MARK}","trace_id":"","component":"x","timestamp":"x"}}\n',
    f'","message":"{MARK}","x":"',
    f"\r\n\x1b[2J\x1b[1;31m{MARK}\x07",
    f"\u2028{MARK}\u2029\x85\x0b\x0c",
    f"\U0001f600 {MARK} \u202e",
    f"${{env:PATH}} %s %(message)s {{message}} {MARK}",
    MARK * 20_000,
)
BAD_TRACES = (
    'a","level":"x',
    "00-" + "0" * 32 + "-b7ad6b7169203331-01",
    "00-" + "A" * 32 + "-b7ad6b7169203331-01",
    "00-4bf92f3577b34da6a3ce929d0e0e473\u0661-b7ad6b7169203331-01",
    "ff-4bf92f3577b34da6a3ce929d0e0e4736-b7ad6b7169203331-01",
    "x" * 5000,
    "../../etc/passwd",
)
GROWN_KIB = 50 * 1024
FIELDS = {"timestamp", "level", "component", "message", "trace_id"}


@contextlib.asynccontextmanager
async def system(folder: Path) -> AsyncIterator[tuple[Premises, EmbeddedProcess, SlackSimulator]]:
    async with LocalSlack() as slack:
        premises = Premises(folder, {"SLACK_API_URL": slack.api_url, "CALLBOARD_LOG_LEVEL": "DEBUG"})
        premises.add_agents(**AGENTS)
        async with (
            running(premises) as process,
            SlackSimulator(slack, gateway_url=process.url, signing_secret=SECRET) as person,
        ):
            yield premises, process, person


def _honest_lines(premises: Premises, process: EmbeddedProcess) -> None:
    """On the output and on disk: one object a line, nothing that a terminal would obey, no line of a caller's own."""
    copies = b"".join(path.read_bytes() for path in sorted(premises.logs.glob("callboard.log*")))
    for text in (process.out.read_bytes(), copies):
        lines = text.split(b"\n")[:-1]
        assert len(lines) > 20
        for line in lines:
            assert all(0x20 <= byte < 0x7F for byte in line), line[:300]
            record = json.loads(line)
            assert record.keys() >= FIELDS
            assert record["message"] != MARK
            assert record["trace_id"] == "" or is_trace_id(record["trace_id"]), record["trace_id"][:100]
            assert len(line) < 200_000


async def test_H12_what_callers_write_forges_no_log_line(tmp_path: Path) -> None:
    async with system(tmp_path) as (premises, process, person), process.client() as client:
        for forgery in FORGERIES:
            task = await invoke(client, "echo", forgery)
            assert (await result(client, task))["output"] == forgery
            await result(client, await invoke(client, "bomb", forgery))
            unknown = await client.post("/api/v1/agents/invoke", json={"agent": forgery, "input": "x"})
            assert unknown.status_code in (404, 422), unknown.text[:300]
            await client.get("/api/v1/runs", params={"agent": forgery[:2000]})
            await client.get("/api/v1/agents/" + forgery[:200].encode("utf-8").hex())
            await person.command(f"/echo {forgery[:3000]}")
            await person.command(f"/{forgery[:100].split()[0]} x")
            await person.message(forgery[:3000])
        _agent_files(premises)
        await process.logged("agent file refused; its last good version goes on")
        assert (await result(client, await invoke(client, "echo", "well")))["output"] == "well"
        _honest_lines(premises, process)


def _agent_files(premises: Premises) -> None:
    """Names and contents that would be a line of their own."""
    (premises.agents / f"a\n{MARK}.yaml").write_text("name: x\n", encoding="utf-8")
    (premises.agents / "colours\x1b[31m.yaml").write_text(f'name: "{MARK}\\n{{}}"\nagent_type: x\n', encoding="utf-8")
    text = AGENTS["echo"].replace("name: echo", f'name: other\ndescription: "x\\n{MARK}\\u001b[2J"')
    (premises.agents / "other.yaml").write_text(text.replace("/echo", "/other"), encoding="utf-8")


async def test_H12_trace_ids_of_callers_are_checked_on_every_way_in(tmp_path: Path) -> None:
    async with system(tmp_path) as (premises, process, _), process.client() as client:
        for bad in BAD_TRACES:
            raw = [(b"traceparent", bad.encode("utf-8")), (b"x-trace-id", bad.encode("utf-8"))]
            answer = await client.post("/api/v1/agents/invoke", json={"agent": "echo", "input": "x"}, headers=raw)
            if answer.status_code == 202:
                assert is_trace_id(answer.json()["trace_id"])
                assert answer.json()["trace_id"] not in bad
                await result(client, answer.json()["task_id"])
            else:
                assert answer.status_code in (400, 431), answer.text
            request = slash_command(
                "/echo x",
                person=Person(),
                channel=Channel(),
                response_url="https://hooks.slack.com/1",
                trigger_id=f"t{len(bad)}{bad[:5]}",
            )
            signed = request.signed(SECRET, SystemClock().now())
            headers = [(name.encode(), value.encode()) for name, value in signed.headers.items()] + raw
            slack = await client.post(signed.path, content=signed.body, headers=headers)
            assert slack.status_code in (200, 400, 431), slack.text
        _honest_lines(premises, process)


async def test_A8_a_flood_of_oversized_requests_costs_no_memory_and_nobody_else(tmp_path: Path) -> None:
    async with system(tmp_path) as (_, process, person), process.client() as client:
        for number in range(30):
            await result(client, await invoke(client, "echo", f"warm {number}"))
        before = process.resident_kib()
        hungry = [await _open_slowly(process.url) for _ in range(200)]
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(24):
                    tasks.create_task(_oversized(process.url, number))
                for _ in range(4):
                    tasks.create_task(_many_fields(person))
                served = [await result(client, await invoke(client, "echo", f"beside {n}")) for n in range(20)]
            assert [document["output"] for document in served] == [f"beside {n}" for n in range(20)]
            assert process.resident_kib() - before < GROWN_KIB
            assert (await client.get("/health")).status_code == 200
        finally:
            for writer in hungry:
                writer.close()


async def _open_slowly(url: str) -> asyncio.StreamWriter:
    """A connection that sends half a head and then nothing."""
    parts = urlsplit(url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"POST /slack/events HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\nx-a: ")
    await writer.drain()
    return writer


async def _oversized(url: str, number: int) -> None:
    """Ten megabytes in pieces, with and without a length, to every kind of route."""
    path = ("/slack/events", "/slack/commands", "/api/v1/agents/invoke", "/api/v1/agents/validate")[number % 4]

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(160):
            yield b"x" * 65536

    headers = {"content-type": "application/json"} | ({"content-length": str(160 * 65536)} if number % 2 else {})
    # Certificates would take a second of this loop, in which nobody else could send what they have begun.
    async with httpx2.AsyncClient(base_url=url, timeout=20.0, trust_env=False, verify=no_certificates()) as client:
        try:
            answer = await client.post(path, content=pieces(), headers=headers)
        except httpx2.TransportError:
            return  # refused and closed before all of it was sent
        # 408: on a busy machine not even what may be read arrives in time.
        assert answer.status_code in (400, 401, 408, 413), answer.text


async def _many_fields(person: SlackSimulator) -> None:
    body = urlencode([("command", "/echo"), *((f"f{number}", "x") for number in range(10_000))]).encode()
    answer = await person.post(SlackRequest(path="/slack/commands", content_type=FORM, body=body))
    assert answer.status_code < 500
