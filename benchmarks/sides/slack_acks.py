"""Slack's side of both servers: the same signed commands to the product's gateway or to the peer's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvloop
from tests.support.servers.ports import free_port

from benchmarks import signed_load
from benchmarks.child import SECRET
from benchmarks.rounds import arguments, report
from benchmarks.sides.company import company

START_SECONDS = 60.0
AGENT = "echo-0"
COMMANDED = f"""\
name: {AGENT}
agent_type: benchmark
execution_mode: autonomous
llm_config: {{provider: scripted, model_id: echo}}
slack: {{commands: [/{AGENT}]}}
"""


async def measure(*, server: str, count: int, **more: Any) -> dict[str, float]:
    made = signed_load.requests(count + count // 10, SECRET)
    if server == "nothing":
        await signed_load.capacity(made[: count // 10])
        found = await signed_load.capacity(made[count // 10 :])
    else:
        async with bolt(**more) if server == "bolt" else gateway(**more) as port:
            await signed_load.run(port, made[: count // 10])
            found = await signed_load.run(port, made[count // 10 :])
    return {"rate": found.rate, "median": found.median, "p99": found.p99}


@contextlib.asynccontextmanager
async def bolt(*, python: str, rabbitmq_url: str, queue: str, **_: Any) -> AsyncIterator[int]:
    port = free_port()
    slack = await asyncio.get_running_loop().create_server(signed_load.Answering, "127.0.0.1", 0)
    given = {
        "port": port,
        "amqp_url": rabbitmq_url,
        "queue": queue,
        "slack_url": f"http://127.0.0.1:{slack.sockets[0].getsockname()[1]}/api/",
        "secret": SECRET,
    }
    command = [python, "-W", "ignore", "-m", "benchmarks.peers.bolt_gateway", json.dumps(given)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=sys.stderr)
    try:
        await until_listening(port)
        yield port
    finally:
        process.terminate()
        await process.wait()
        slack.close()


@contextlib.asynccontextmanager
async def gateway(*, database_url: str, rabbitmq_url: str, redis_url: str, **_: Any) -> AsyncIterator[int]:
    """The role alone, beside those that every deployment has: what it accepts waits to be routed."""
    slack = await asyncio.get_running_loop().create_server(signed_load.Answering, "127.0.0.1", 0)
    slack_url = f"http://127.0.0.1:{slack.sockets[0].getsockname()[1]}/api/"
    servers = {"database_url": database_url, "rabbitmq_url": rabbitmq_url, "redis_url": redis_url}
    async with company({AGENT: COMMANDED}, ["slack-gateway"], **servers, SLACK_API_URL=slack_url) as running:
        yield running.members[-1].public_port
    slack.close()


async def until_listening(port: int) -> None:
    for _ in range(round(START_SECONDS / 0.02)):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    raise TimeoutError(f"nothing listens on port {port} after {START_SECONDS:g} s")


if __name__ == "__main__":
    report(**uvloop.run(measure(**arguments())))
