"""One listening port of a process: uvicorn under the process's own supervision."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from callboard.errors import UnavailableError
from callboard.integrations.request_head import BoundedHttpProtocol
from callboard.lifecycle import StopSignal
from callboard.logs import StructuredLogger

FINISH_SECONDS = 5
BACKLOG = 2048


class HttpServer:
    """Takes its port when it is made, so that a port in use is told before anything starts; `port` 0 takes a free one.

    `before_stop` ends what a draining server would wait for.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, *, before_stop: Callable[[], None] = lambda: None) -> None:
        self._app = app
        self._before_stop = before_stop
        self._socket = _listen(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self.ready = asyncio.Event()
        self._log = StructuredLogger("http")

    @property
    def url(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{self.port}"

    async def run(self, stop: StopSignal) -> None:
        """Serves until it is told to stop, then lets open requests end."""
        config = uvicorn.Config(
            self._app,
            http=BoundedHttpProtocol,
            log_config=None,
            access_log=False,
            ws="none",
            timeout_graceful_shutdown=FINISH_SECONDS,
            server_header=False,
        )
        server = _Server(config, self.ready)
        serving = asyncio.create_task(server.serve(sockets=[self._socket]))
        asked = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                self._before_stop()
                server.should_exit = True
                # The server looks at that ten times a second; whoever comes meanwhile is not to be taken in.
                for listening in server.servers:
                    listening.close()
            await asyncio.shield(serving)
        finally:
            asked.cancel()
            if not serving.done():
                await _end(server, serving)

    def close(self) -> None:
        """Gives the port back where `run` never came."""
        self._socket.close()


async def _end(server: _Server, serving: asyncio.Task[None]) -> None:
    """Without waiting for open requests; the application's own end is not left to the loop's, which would print it."""
    server.should_exit = server.force_exit = True
    if server.started:
        await server.lifespan.shutdown()
    await asyncio.gather(serving, return_exceptions=True)


class _Server(uvicorn.Server):
    """Signals belong to the process's supervisor."""

    def __init__(self, config: uvicorn.Config, ready: asyncio.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        # At once: two that have only bound an address do not see each other, and whoever is told of it may connect.
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise UnavailableError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port or CALLBOARD_PORT",
            code="port_in_use",
        ) from None
    return listening
