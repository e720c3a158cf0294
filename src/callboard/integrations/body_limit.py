"""How much of a request is read, and for how long: what a stranger may cost us before we know who it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callboard.errors import CallboardError, InvalidInputError, TooLargeError
from callboard.logs import current_trace

MAX_BODY_BYTES = 1024 * 1024
READ_SECONDS = 10.0
LINGER_SECONDS = 5.0


class SlowRequestError(CallboardError):
    """The body did not arrive in time (HTTP 408)."""

    code = "request_timeout"


class AbortedRequestError(CallboardError):
    """The client went away before its body was complete; nobody reads an answer."""

    code = "request_aborted"


async def read_body(
    headers: Iterable[tuple[bytes, bytes]],
    receive: Receive,
    *,
    limit_bytes: int = MAX_BODY_BYTES,
    within_seconds: float = READ_SECONDS,
) -> bytes:
    """The whole body of an ASGI request.

    Raises TooLargeError as soon as the announced or the received length is over the limit, without reading on,
    SlowRequestError when the body takes too long, InvalidInputError for a length that is not a number and
    AbortedRequestError when the client disconnects. `headers` are the raw ones of the ASGI scope.
    """
    announced = [value for name, value in headers if name == b"content-length"]
    for value in announced:
        if not (value.isascii() and value.isdigit() and len(value) <= 15):
            raise InvalidInputError("the Content-Length header is not a number", field="content-length")
        if int(value) > limit_bytes:
            raise _too_large(limit_bytes)
    try:
        async with asyncio.timeout(within_seconds):
            return await _collect(receive, limit_bytes)
    except TimeoutError as error:
        raise SlowRequestError(f"the body did not arrive within {within_seconds:g} s") from error


async def _collect(receive: Receive, limit_bytes: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise AbortedRequestError("the client disconnected before the body was complete")
        body += message.get("body", b"")
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
        if not message.get("more_body", False):
            return bytes(body)


def _too_large(limit_bytes: int) -> TooLargeError:
    return TooLargeError(f"the body is over {limit_bytes} bytes; send less")


class BodyLimit:
    """ASGI middleware: the app behind it sees only requests whose body arrived whole and within the limit.

    Others are answered here: 413, 408 or 400 with the API's error body.
    """

    def __init__(
        self, app: ASGIApp, *, limit_bytes: int = MAX_BODY_BYTES, within_seconds: float = READ_SECONDS
    ) -> None:
        self._app = app
        self._limit_bytes = limit_bytes
        self._within_seconds = within_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        try:
            body = await read_body(
                scope["headers"], receive, limit_bytes=self._limit_bytes, within_seconds=self._within_seconds
            )
        except AbortedRequestError:
            return
        except CallboardError as error:
            await refusal(error, current_trace())(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once, then whatever the server has to say (a disconnect)."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


class BodyRefusal(Response):
    """The answer to a request whose body is not wanted: sent first, then the rest is thrown away for a while.

    Closing with unread data would reset the connection, and the client would never see the answer (RFC 9112, 9.6).
    """

    def __init__(self, status_code: int, error: CallboardError, trace_id: str | None = None) -> None:
        content = {"code": error.code, "message": error.message, **({"trace_id": trace_id} if trace_id else {})}
        super().__init__(
            orjson.dumps({"error": content}),
            status_code=status_code,
            headers={"connection": "close"},
            media_type="application/json",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b""})


def refusal(error: CallboardError, trace_id: str | None = None) -> BodyRefusal:
    """The answer to what `read_body` raised."""
    status = {TooLargeError.code: 413, SlowRequestError.code: 408}.get(error.code, 400)
    return BodyRefusal(status, error, trace_id)
