"""What surrounds every request: its trace id, who calls, how much is read, and an answer whatever happens."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callboard.clock import Clock
from callboard.errors import CallboardError
from callboard.integrations.body_limit import BodyLimit
from callboard.integrations.http_api.access import identify
from callboard.integrations.http_api.replies import reply_to_error, unexpected_reply
from callboard.logs import StructuredLogger, bind_trace
from callboard.tracing import trace_id_from

API_PREFIX = "/api"


class ApiFrame:
    """ASGI middleware. Below `/api` the caller is identified before a byte of the body is read.

    A `traceparent` is honoured; a broken one, or one that was sent twice, is replaced by a new trace id.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, clock: Clock) -> None:
        self._app = app
        self._limited = BodyLimit(app)
        self._token = token
        self._clock = clock
        self._log = StructuredLogger("api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.getlist("traceparent")
        with bind_trace(trace_id_from(given[0] if len(given) == 1 else None)):
            await self._answer(scope, receive, send, headers)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        begun = self._clock.monotonic()
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        path: str = scope["path"]
        of_api = path == API_PREFIX or path.startswith(API_PREFIX + "/")
        try:
            if of_api:
                scope.setdefault("state", {})["principal"] = identify(scope["method"], headers, self._token)
                await self._limited(scope, receive, noting)
            else:
                await self._app(scope, receive, noting)
        except CallboardError as error:
            if status:
                raise
            await reply_to_error(error)(scope, receive, noting)
        except Exception:  # a defect of whatever kind is the log's; the client gets a 500 without a trace
            self._log.exception("request failed", method=scope["method"], path=path)
            if status not in (0, 500):
                raise  # in the middle of an answer: only a connection that breaks can tell the client
            if status == 0:
                await unexpected_reply()(scope, receive, noting)
        finally:
            if of_api:
                duration = round((self._clock.monotonic() - begun) * 1000, 3)
                self._log.debug("request", method=scope["method"], path=path, status=status, duration_ms=duration)
