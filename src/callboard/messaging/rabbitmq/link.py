"""One connection to the broker that is opened again for ever."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pika

from callboard.clock import Clock
from callboard.errors import CallboardError, InvalidInputError
from callboard.ids import Ids, fraction
from callboard.logs import StructuredLogger
from callboard.messaging.rabbitmq.failures import BrokerAddress, why_lost, why_not_connected
from callboard.messaging.rabbitmq.wire import Wire
from callboard.retry import Backoff

HEARTBEAT_SECONDS = 10
CONNECT_SECONDS = 5.0
BLOCKED_SECONDS = 300.0
"""How long an alarm may last before the connection is made anew; what is published meanwhile fails at once."""
PAUSES = Backoff(first_seconds=0.25, factor=2.0, cap_seconds=5.0, jitter=0.5)
CLOSE_SECONDS = 2.0

Session = Callable[[Wire], Awaitable[None]]
"""What is done with an open connection, until it is lost; cancelled then. Returning or raising ends the connection."""


class NotConnectedError(CallboardError):
    """The connection could not be opened; the message says why and what to do."""

    code = "not_connected"


def parse_url(url: str) -> tuple[pika.URLParameters, BrokerAddress]:
    """Raises InvalidInputError for what is no AMQP address, without quoting it: it holds a password."""
    if not url.startswith(("amqp://", "amqps://")):
        raise InvalidInputError("RABBITMQ_URL is no AMQP address: write amqp://USER:PASSWORD@HOST:5672/VHOST")
    try:
        parameters = pika.URLParameters(url)
    except Exception as error:  # noqa: BLE001  # whatever pika makes of it, an address is wrong
        raise InvalidInputError(
            f"RABBITMQ_URL cannot be read ({type(error).__name__}): write amqp://USER:PASSWORD@HOST:5672/VHOST, with "
            "%2F for a slash in the virtual host"
        ) from None
    if "heartbeat=" not in url:
        parameters.heartbeat = HEARTBEAT_SECONDS
    parameters.blocked_connection_timeout = BLOCKED_SECONDS
    parameters.socket_timeout = parameters.stack_timeout = CONNECT_SECONDS
    parameters.connection_attempts = 1
    user = getattr(parameters.credentials, "username", "")
    return parameters, BrokerAddress(parameters.host, parameters.port, parameters.virtual_host, user)


class Link:
    """Keeps one connection; a session runs over each. One log line a change of state, with the remedy."""

    def __init__(self, url: str, clock: Clock, ids: Ids, name: str, session: Session) -> None:
        self._parameters, self.address = parse_url(url)
        self._parameters.client_properties = {"connection_name": name, "product": "callboard"}
        self._clock = clock
        self._ids = ids
        self._name = name
        self._session = session
        self._wire: Wire | None = None
        self._task: asyncio.Task[None] | None = None
        self._log = StructuredLogger("event-bus")
        self.trouble: str | None = "not started"
        """Why there is no connection now."""
        self.up = asyncio.Event()

    def start(self) -> None:
        # pika tells of every failure several times over, with stack traces; the one line that is needed is ours.
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        self.trouble = f"RabbitMQ at {self.address} has not answered yet"
        self._task = asyncio.create_task(self._run(), name=f"rabbitmq {self._name}")

    async def close(self) -> None:
        """Says good-bye to the broker if it listens; ends in a few seconds in any case."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self.trouble = "the bus is closed"

    def drop(self, reason: str) -> None:
        """Ends a connection that does not do its work; it is opened again."""
        if self._wire is not None:
            self._wire.abort(NotConnectedError(reason))

    async def _run(self) -> None:
        tries = 0
        while True:
            try:
                wire, lost = await self._open()
            except NotConnectedError as error:
                self._tell(error.message)
                tries += 1
            else:
                tries = 0 if await self._use(wire, lost) else tries + 1
            await self._clock.sleep(PAUSES.seconds(max(1, tries), random=lambda: fraction(self._ids.new())))

    async def _open(self) -> tuple[Wire, asyncio.Future[Exception]]:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        lost: asyncio.Future[Exception] = loop.create_future()

        def on_open(_: Any) -> None:
            if not opened.done():
                opened.set_result(None)

        def on_error(_: Any, error: Any) -> None:
            cause = error if isinstance(error, Exception) else ConnectionError(str(error))
            if not opened.done():
                opened.set_exception(NotConnectedError(why_not_connected(cause, self.address)))
            if not lost.done():
                lost.set_result(cause)

        def on_close(_: Any, error: Exception) -> None:
            if not lost.done():
                lost.set_result(error)

        wire = Wire(self._parameters, on_open, on_error, on_close, custom_ioloop=loop)
        try:
            await opened
        except asyncio.CancelledError:
            await _end(wire, lost)
            raise
        return wire, lost

    async def _use(self, wire: Wire, lost: asyncio.Future[Exception]) -> bool:
        """Runs the session until the connection is lost; whether it had begun its work."""
        self._wire = wire
        session = asyncio.ensure_future(self._session(wire))
        waited_for: set[asyncio.Future[Any]] = {session, lost}
        try:
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._wire = None
            worked = self.up.is_set()
            self.up.clear()
            session.cancel()
            ended = (await asyncio.gather(session, return_exceptions=True))[0]
            if not lost.done():
                await _end(wire, lost)
        if lost.done() and not isinstance(ended, Exception):
            self._tell(why_lost(lost.result(), self.address))
        elif isinstance(ended, CallboardError):
            self._tell(ended.message)
        else:
            self._tell(f"the session with RabbitMQ at {self.address} ended: {type(ended).__name__}: {ended}")
        return worked

    def ready(self) -> None:
        """The session has restored everything; told once."""
        if self.trouble is not None:
            self._log.info("connected to RabbitMQ", connection=self._name, address=str(self.address))
        self.trouble = None
        self.up.set()

    def _tell(self, reason: str) -> None:
        if reason != self.trouble:
            self._log.warning("no connection to RabbitMQ; trying again", connection=self._name, reason=reason)
        self.trouble = reason


async def _end(wire: Wire, lost: asyncio.Future[Exception]) -> None:
    if wire.is_open:
        wire.close()
    elif not wire.is_closed and not wire.is_closing:
        with contextlib.suppress(pika.exceptions.AMQPError):
            wire.close()
    await asyncio.wait({lost}, timeout=CLOSE_SECONDS)
    if not lost.done():
        wire.abort(NotConnectedError("the bus is closed"))
