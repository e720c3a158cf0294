"""The command line's side of the HTTP API."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2
import orjson

from callboard.errors import (
    CallboardError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)
from callboard.settings import load_settings

_ERRORS: Mapping[int, type[CallboardError]] = {
    400: InvalidInputError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    422: InvalidInputError,
    503: UnavailableError,
}
_UNREACHED = (httpx2.ConnectError, httpx2.ConnectTimeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedEvent:
    """One server-sent event; `id` is where to resume."""

    name: str
    id: str
    data: dict[str, Any]


class ApiClient:
    """Talks to `/api/v1` of a running Callboard; a context manager.

    Every answer that is not a success comes out as the error it stands for; UnavailableError when nobody answers.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout_seconds: float = 30.0) -> None:
        self.url = url.rstrip("/")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            self._http = httpx2.Client(
                base_url=f"{self.url}/api/v1/", headers=headers, timeout=timeout_seconds, trust_env=False
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise InvalidInputError(f"CALLBOARD_API_URL is {url!r}, which is no address: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, *path: str, **query: Any) -> Any:
        """The JSON at a path; parameters that are None are left out."""
        return self._request("GET", path, params=_given(query))

    def get_bytes(self, *path: str) -> bytes:
        """The body at a path as it is."""
        with self._reaching():
            response = self._http.get(_path(path))
        if response.is_success:
            return bytes(response.content)
        raise _error(response)

    def post(self, *path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Values of the body that are None are left out."""
        return self._request("POST", path, json=_given(body or {}))

    @contextlib.contextmanager
    def watch(self, run_id: str, after: str = "0") -> Iterator[Iterator[StreamedEvent]]:
        """The events of a run from line `after` on; ends with `end`, or early when the connection is lost."""
        headers = {"Last-Event-ID": after, "Accept": "text/event-stream"}
        timeout = httpx2.Timeout(30.0, read=60.0)
        with (
            self._reaching(),
            self._http.stream("GET", _path(("runs", run_id, "events")), headers=headers, timeout=timeout) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise _error(response)
            yield _events(response.iter_lines())

    def _request(self, method: str, path: tuple[str, ...], **more: Any) -> Any:
        with self._reaching():
            response = self._http.request(method, _path(path), **more)
        if response.is_success:
            return _json(response, self.url)
        raise _error(response)

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except _UNREACHED as error:
            raise UnavailableError(
                f"nobody answers at {self.url}: start Callboard with `callboard up`, or set CALLBOARD_API_URL"
            ) from error
        except httpx2.UnsupportedProtocol as error:
            raise InvalidInputError(f"CALLBOARD_API_URL is {self.url!r}: write http://HOST:PORT") from error
        except httpx2.TransportError as error:
            raise UnavailableError(
                f"the connection to {self.url} was lost: {str(error) or type(error).__name__}"
            ) from error


def open_api() -> ApiClient:
    """The API that the environment or `.env` names."""
    settings = load_settings()
    token = settings.api_token
    return ApiClient(settings.api_url, None if token is None else token.get_secret_value())


def _path(parts: tuple[str, ...]) -> str:
    # A dot alone would be taken for a step in the path.
    return "/".join("%2E" * len(part) if part in (".", "..") else quote(part, safe="") for part in parts)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _json(response: httpx2.Response, url: str) -> Any:
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        raise UnavailableError(f"what answers at {url} is not Callboard: check CALLBOARD_API_URL") from error


def _error(response: httpx2.Response) -> CallboardError:
    kind = _ERRORS.get(response.status_code, CallboardError)
    try:
        told = orjson.loads(response.content)["error"]
        message, code, field = str(told["message"]), str(told["code"]), told.get("field")
        trace_id = told.get("trace_id")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return UnavailableError(
            f"{response.url} answered {response.status_code} and not as Callboard does: check CALLBOARD_API_URL"
        )
    if response.status_code >= 500 and trace_id:
        message = f"{message} (trace {trace_id})"
    return kind(message, code=code, field=field)


def _events(lines: Iterator[str]) -> Iterator[StreamedEvent]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        else:
            if "data" in fields:
                data = orjson.loads(fields["data"])
                yield StreamedEvent(name=fields.get("event", "message"), id=fields.get("id", "0"), data=data)
            fields = {}
