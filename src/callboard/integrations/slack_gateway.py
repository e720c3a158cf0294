"""Slack in over HTTP: verify, store, acknowledge (DESIGN.md, rules 2 and 3).

The order is the promise: nothing is read beyond the limit, nothing is looked at before the signature holds, nothing is
acknowledged before it is durable. Work starts elsewhere; here only an answer to one of our own questions is applied,
since its sender waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from callboard.clock import Clock
from callboard.errors import CallboardError, InvalidInputError, UnavailableError
from callboard.failpoint import reached
from callboard.ids import Ids
from callboard.integrations.body_limit import READ_SECONDS, AbortedRequestError, read_body, refusal
from callboard.integrations.slack_client import SlackClient
from callboard.integrations.slack_events import Challenge, Ignored, SlackEvent, parse_slack_event
from callboard.integrations.slack_question_desk import QuestionDesk
from callboard.integrations.slack_requests import decode_request
from callboard.integrations.slack_signature import verify
from callboard.logs import StructuredLogger, bind_trace
from callboard.messaging.events import EventType
from callboard.state.accepting import Accepted, EventDraft
from callboard.tracing import parse_traceparent

PATHS = ("/slack/events", "/slack/commands", "/slack/interactions")
ACCEPT_SECONDS = 2.0
"""Slack waits 3 s for an answer."""

AcceptEvent = Callable[[EventDraft], Awaitable[Accepted]]
"""Durable when it returns; UnavailableError when nothing could be stored."""

_SORRY = "Callboard cannot record this right now, so nothing was started. Please try again in a minute."
_PERHAPS = "Callboard could not confirm this in time. If no answer comes within a minute, please try again."


class SlackGateway:
    """The three routes, each of which takes all of Slack's formats.

    Without a signing secret every request is refused (DESIGN.md, R32). `questions` applies what answers a question of
    ours; `observe` gets the seconds from a request's arrival to its acknowledgement. A body must arrive within
    `body_seconds`.
    """

    def __init__(
        self,
        *,
        signing_secret: str | None,
        accept: AcceptEvent,
        questions: QuestionDesk,
        slack: SlackClient,
        clock: Clock,
        ids: Ids,
        observe: Callable[[float], None] = lambda seconds: None,
        body_seconds: float = READ_SECONDS,
    ) -> None:
        self._secret = signing_secret
        self._accept = accept
        self._slack = slack
        self._clock = clock
        self._ids = ids
        self._observe = observe
        self._body_seconds = body_seconds
        self._questions = questions
        self._log = StructuredLogger("slack-gateway")

    @property
    def configured(self) -> bool:
        """False when every request is refused for want of a signing secret."""
        return bool(self._secret)

    def routes(self) -> Sequence[Route]:
        """Plain Starlette routes for any application to mount."""
        return [Route(path, _Endpoint(self), methods=["POST"]) for path in PATHS]

    async def handle(self, request: Request) -> Response:
        """One request of Slack's, or of somebody who pretends to be Slack."""
        started = self._clock.monotonic()
        headers: list[tuple[bytes, bytes]] = request.scope["headers"]
        trace_id = parse_traceparent(_single(headers, b"traceparent")) or self._ids.new()
        with bind_trace(trace_id):
            try:
                return await self._respond(request, headers, trace_id)
            finally:
                self._observe(self._clock.monotonic() - started)

    async def _respond(self, request: Request, headers: list[tuple[bytes, bytes]], trace_id: str) -> Response:
        try:
            body = await read_body(headers, request.receive, within_seconds=self._body_seconds)
        except AbortedRequestError:
            return Response(status_code=400)
        except CallboardError as error:
            return refusal(error, trace_id)
        signatures = _values(headers, b"x-slack-signature")
        if not self._is_from_slack(headers, signatures, body):
            self._log.info("request refused: no valid signature")
            return _error(401, "unauthorized", "the request has no valid Slack signature", trace_id)
        try:
            raw = decode_request([_text(value) for value in _values(headers, b"content-type")], body)
            parsed = parse_slack_event(raw, _text(signatures[0]))
        except InvalidInputError as error:
            self._log.warning("request refused", reason=error.message)
            return _error(400, error.code, error.message, trace_id)
        match parsed:
            case Challenge(challenge=challenge):
                return JSONResponse({"challenge": challenge})
            case Ignored(reason=reason):
                self._log.debug("acknowledged without an event", reason=reason)
                return Response()
            case SlackEvent():
                return await self._receive(parsed, trace_id)

    def _is_from_slack(self, headers: list[tuple[bytes, bytes]], signatures: list[bytes], body: bytes) -> bool:
        if not self._secret:
            return False
        timestamps = _values(headers, b"x-slack-request-timestamp")
        return verify(self._secret, timestamps, signatures, body, self._clock.now())

    async def _receive(self, event: SlackEvent, trace_id: str) -> Response:
        reached("gateway.verified")
        try:
            async with asyncio.timeout(ACCEPT_SECONDS):
                accepted = await self._accept(event.draft(self._clock.now(), trace_id))
                reached("gateway.accepted")
                self._log_accepted(event, accepted)
                reply = await self._questions.serve(event, accepted)
        except UnavailableError as error:
            self._log.error("event not accepted: the database is away", topic=event.topic, reason=error.message)
            return await self._not_accepted(event, trace_id, _SORRY)
        except TimeoutError:
            self._log.error("event not accepted in time", topic=event.topic)
            return await self._not_accepted(event, trace_id, _PERHAPS)
        except Exception:  # noqa: BLE001  # a defect of ours must not show Slack a stack trace, nor lose the retry
            self._log.exception("event not accepted", topic=event.topic)
            return await self._not_accepted(event, trace_id, _PERHAPS)
        return Response() if reply is None else JSONResponse(reply)

    def _log_accepted(self, event: SlackEvent, accepted: Accepted) -> None:
        self._log.info(
            "repetition acknowledged" if accepted.duplicate else "event accepted",
            topic=event.topic,
            event_id=accepted.event_id,
            trace_id=accepted.trace_id,
        )

    async def _not_accepted(self, event: SlackEvent, trace_id: str, text: str) -> Response:
        """Slack sends events again after a 503; commands, clicks and forms it does not, so their sender is told."""
        if event.retried_by_slack:
            return _error(503, "unavailable", "the event could not be recorded; send it again", trace_id)
        line: dict[str, Any] = {"response_type": "ephemeral", "replace_original": False, "text": text}
        if event.event_type is EventType.SLACK_VIEW:
            block = next(iter(event.payload["view"]["values"]), "")
            return JSONResponse({"response_action": "errors", "errors": {block: text}} if block else {})
        if event.event_type is EventType.SLACK_ACTION and event.response_url is not None:
            # Slack shows nobody the body of the answer to a click.
            await self._slack.respond(event.response_url, line, timeout_seconds=0.8)
        return JSONResponse(line)


class _Endpoint:
    """The gateway as an ASGI application of its own, which answers whatever happens."""

    def __init__(self, gateway: SlackGateway) -> None:
        self._gateway = gateway
        self._log = StructuredLogger("slack-gateway")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._gateway.handle(Request(scope, receive))
        except Exception:  # noqa: BLE001  # a defect of ours: nobody outside sees more of it than this
            self._log.exception("a request was not answered")
            response = _error(500, "internal", "something went wrong here; the log has the reason", "")
        await response(scope, receive, send)


def _values(headers: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]


def _single(headers: list[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    values = _values(headers, name)
    return values[0] if len(values) == 1 else None


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _error(status: int, code: str, message: str, trace_id: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message, "trace_id": trace_id}}, status_code=status)
