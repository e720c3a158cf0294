"""Requests to Slack: the Web API and response URLs, each tried exactly once and with its outcome named.

Whether and when to try again is the delivery ledger's decision, so there are no retries here, and every way a request
can end is one of five records: only one of them leaves open whether Slack did it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import httpx2
import orjson

from callboard.errors import ForbiddenError
from callboard.integrations.slack_response_url import check_response_url, check_upload_url

SLACK_API_URL = "https://slack.com/api/"
_JSON = "application/json; charset=utf-8"
_BYTES = "application/octet-stream"
_FORM = "application/x-www-form-urlencoded"
_CODE = re.compile(r"[a-z0-9_]{1,80}")
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
_UNSURE = frozenset({"internal_error", "fatal_error", "request_timeout", "service_unavailable"})
"""Slack's own words for: some of it may have happened."""

_LIMITED = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
_UPLOAD_SECONDS = 30.0
_DEFAULT_WAIT_SECONDS = 30.0
_LONGEST_WAIT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Slack did it. `scopes` are those of the token, where Slack names them."""

    data: dict[str, Any] = field(default_factory=dict)
    scopes: frozenset[str] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """No byte of the request reached Slack."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """Slack refused for now."""

    retry_after_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Slack refused for good, or we did; `code` is Slack's error."""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsure:
    """The request left and no valid answer came: it may or may not have been done."""

    reason: str


Reply = Done | NotSent | Limited | Refused | Unsure


class SlackClient:
    """One workspace's Slack, an async context manager.

    `api_url` is Slack's Web API or a server that stands for it, whose host is then also allowed in response URLs.
    Redirects are never followed. Tokens and response URLs occur in no reply and no log line.
    """

    def __init__(
        self,
        token: str | None,
        *,
        api_url: str = SLACK_API_URL,
        timeout_seconds: float = 10.0,
        max_connections: int = 50,
    ) -> None:
        self._api_url = httpx2.URL(api_url if api_url.endswith("/") else api_url + "/")
        self._local_host = None if self._api_url.host == httpx2.URL(SLACK_API_URL).host else self._api_url.host
        self._token = token
        self._http = httpx2.AsyncClient(
            timeout=timeout_seconds,
            follow_redirects=False,
            limits=httpx2.Limits(max_connections=max_connections, keepalive_expiry=30.0),
            trust_env=not _is_loopback(self._api_url.host),
        )

    @property
    def has_token(self) -> bool:
        """Without a bot token only response URLs can be used."""
        return bool(self._token)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def call(self, method: str, arguments: dict[str, Any], *, timeout_seconds: float | None = None) -> Reply:
        """One call of a Web API method that changes something, such as `chat.postMessage`."""
        return await self._call(method, orjson.dumps(arguments), _JSON, timeout_seconds)

    async def read(self, method: str, arguments: dict[str, Any], *, timeout_seconds: float | None = None) -> Reply:
        """One call of a Web API method that only reads; many of those take a form, never JSON."""
        return await self.submit(method, arguments, timeout_seconds=timeout_seconds)

    async def submit(self, method: str, arguments: dict[str, Any], *, timeout_seconds: float | None = None) -> Reply:
        """One call of a Web API method that wants a form, whatever it does."""
        return await self._call(method, urlencode(arguments).encode(), _FORM, timeout_seconds)

    async def respond(self, url: str, message: dict[str, Any], *, timeout_seconds: float | None = None) -> Reply:
        """One message to a response URL, which is checked before any connection is made."""
        try:
            check_response_url(url, local_host=self._local_host)
        except ForbiddenError as error:
            return Refused(code=error.code)
        headers = {"content-type": _JSON}
        reply = await self._post(httpx2.URL(url), orjson.dumps(message), headers, timeout_seconds)
        return _response_url_reply(reply) if isinstance(reply, httpx2.Response) else reply

    async def upload(self, url: str, body: bytes) -> Reply:
        """The bytes of a file to the URL that Slack named for them, which is checked before any connection is made.

        The token stays here: that URL is all the authority there is.
        """
        try:
            check_upload_url(url, local_host=self._local_host)
        except ForbiddenError as error:
            return Refused(code=error.code)
        reply = await self._post(httpx2.URL(url), body, {"content-type": _BYTES}, _UPLOAD_SECONDS)
        if not isinstance(reply, httpx2.Response):
            return reply
        return _status_reply(reply) or (Done() if reply.is_success else Refused(code=f"http_{reply.status_code}"))

    async def _call(self, method: str, content: bytes, content_type: str, timeout_seconds: float | None) -> Reply:
        if not self._token:
            return Refused(code="not_authed")
        headers = {"authorization": f"Bearer {self._token}", "content-type": content_type}
        reply = await self._post(self._api_url.join(method), content, headers, timeout_seconds)
        return _api_reply(reply) if isinstance(reply, httpx2.Response) else reply

    async def _post(
        self, url: httpx2.URL, content: bytes, headers: dict[str, str], timeout_seconds: float | None
    ) -> httpx2.Response | NotSent | Unsure:
        timeout = httpx2.USE_CLIENT_DEFAULT if timeout_seconds is None else httpx2.Timeout(timeout_seconds)
        try:
            return await self._http.post(url, content=content, headers=headers, timeout=timeout)
        except _NOT_SENT as error:
            return NotSent(reason=type(error).__name__)
        except httpx2.HTTPError as error:
            return Unsure(reason=type(error).__name__)


def _api_reply(response: httpx2.Response) -> Reply:
    """The Web API answers 200 with `ok`, 429 with Retry-After, and otherwise did not get as far as answering."""
    general = _status_reply(response)
    if general is not None:
        return general
    try:
        data = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return Unsure(reason="the answer is not JSON")
    if not isinstance(data, dict):
        return Unsure(reason="the answer is not an object")
    if data.get("ok") is True:
        return Done(data=data, scopes=_scopes(response))
    return _refusal(_code(data.get("error")), response)


def _response_url_reply(response: httpx2.Response) -> Reply:
    """Response URLs answer 200 with `ok` as text or JSON, and errors with either, in several statuses."""
    general = _status_reply(response)
    if general is not None:
        return general
    try:
        data = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        data = response.text.strip()[:100]
    if isinstance(data, dict):
        return Done(data=data) if data.get("ok") is not False else _refusal(_code(data.get("error")), response)
    return Done() if response.is_success and data in ("", "ok") else _refusal(_code(data), response)


def _status_reply(response: httpx2.Response) -> Reply | None:
    if response.status_code == 429:
        return Limited(retry_after_seconds=_retry_after(response))
    if response.status_code >= 500:
        return Unsure(reason=f"HTTP {response.status_code}")
    if response.is_redirect:
        return Refused(code="redirect_refused")
    if response.status_code >= 400:
        return Refused(code=_error_code(response))
    return None


def _refusal(code: str, response: httpx2.Response) -> Reply:
    if code in _LIMITED:
        return Limited(retry_after_seconds=_retry_after(response))
    return Unsure(reason=code) if code in _UNSURE else Refused(code=code)


def _error_code(response: httpx2.Response) -> str:
    try:
        data = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        data = response.text.strip()[:100]
    code = _code(data.get("error") if isinstance(data, dict) else data)
    return f"http_{response.status_code}" if code == "unknown_error" else code


def _code(value: Any) -> str:
    return value if isinstance(value, str) and _CODE.fullmatch(value) else "unknown_error"


def _retry_after(response: httpx2.Response) -> float:
    """Seconds; Slack always sends a number, so anything else is answered by patience."""
    text = response.headers.get("retry-after", "")
    seconds = float(text) if text.isascii() and text.isdigit() and len(text) < 8 else _DEFAULT_WAIT_SECONDS
    return min(max(seconds, 1.0), _LONGEST_WAIT_SECONDS)


def _scopes(response: httpx2.Response) -> frozenset[str] | None:
    named = response.headers.get("x-oauth-scopes")
    return None if named is None else frozenset(scope.strip() for scope in named.split(",") if scope.strip())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
