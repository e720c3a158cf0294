"""The peer of an ack: the same server answering 200 to everything, in a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.support.servers.ports import free_port


@contextlib.contextmanager
def bare_server() -> Iterator[int]:
    """The port of a Starlette application that reads the body and answers 200."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare_http", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if b"running on" in line:
                break
        yield port
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


async def acknowledge(request: Request) -> Response:
    await request.body()
    return Response()


if __name__ == "__main__":
    app = Starlette(routes=[Route("/{path:path}", acknowledge, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False)
