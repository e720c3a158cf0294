"""HTTP to one MCP server and to nothing else: every request checked, connected to a checked address, bounded.

What goes wrong becomes an answer of its own in the server's language (a JSON-RPC error), because an exception would
end the connection for every call that is under way on it.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from typing import NoReturn

import httpx2
import orjson

from callboard.agents.tools.mcp.session import MAX_MESSAGE_BYTES, FaultKind
from callboard.agents.tools.resolver import Resolver
from callboard.agents.tools.safe_url import Target, UrlPolicy, check_addresses, check_url
from callboard.agents.tools.tool import ToolError
from callboard.clock import Clock

FAULT_CODES = {
    -31001: FaultKind.UNSENT,
    -31002: FaultKind.REFUSED,
    -31003: FaultKind.FORGOTTEN,
    -31004: FaultKind.LOST,
}
"""Error codes of ours, in a range that the protocol leaves free."""
_CODES = {kind: code for code, kind in FAULT_CODES.items()}
_CONNECT_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
_MAX_ADDRESSES = 3
_MAX_ERROR_BYTES = 64 * 1024
_GRACE_SECONDS = 5.0
_STREAM_BYTES_A_MINUTE = 4 * MAX_MESSAGE_BYTES
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class CutOffError(httpx2.StreamError):
    """The answer's body could not be had whole; the message says why."""


class PinnedTransport(httpx2.AsyncBaseTransport):
    """`endpoint` is the server's URL: requests to another origin are refused, whoever asks for them.

    A kept connection is safe here: all requests are for one host, whose certificate it was checked for.
    """

    def __init__(
        self,
        endpoint: str,
        policy: UrlPolicy,
        resolver: Resolver,
        tls: Callable[[], ssl.SSLContext],
        clock: Clock,
        *,
        timeout_seconds: float,
    ) -> None:
        self._endpoint = check_url(endpoint, policy)
        self._policy = policy
        self._resolver = resolver
        self._clock = clock
        self._timeout_seconds = timeout_seconds + _GRACE_SECONDS
        verify: ssl.SSLContext | bool = tls() if self._endpoint.scheme == "https" else False
        self._inner = httpx2.AsyncHTTPTransport(verify=verify, trust_env=False, retries=0)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            target = check_url(str(request.url), self._policy)
            if (target.scheme, target.authority) != (self._endpoint.scheme, self._endpoint.authority):
                return _fault(FaultKind.REFUSED, f"sent us to {target.authority}, which is not where it is configured")
            addresses = await self._addresses(target)
            check_addresses(target, addresses, self._policy)
        except ToolError as error:
            return _fault(FaultKind.UNSENT, f"cannot be used: {error.message}")
        except (OSError, UnicodeError):
            return _fault(FaultKind.UNSENT, f"cannot be reached: {self._endpoint.host} cannot be found")
        return await self._exchange(request, target, addresses[:_MAX_ADDRESSES])

    async def _addresses(self, target: Target) -> list[str]:
        if target.is_address:
            return [target.host]
        return list(await self._resolver.resolve(target.host, target.port))

    async def _exchange(self, request: httpx2.Request, target: Target, addresses: list[str]) -> httpx2.Response:
        reason = f"nothing answers on port {target.port}"
        for address in addresses:
            try:
                response = await self._inner.handle_async_request(self._pinned(request, target, address))
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                reason = "its certificate is not valid for that name" if "CERTIFICATE" in str(error) else reason
                continue
            except httpx2.TimeoutException:
                return _fault(FaultKind.LOST, f"did not answer within {self._timeout_seconds:g} s")
            except httpx2.HTTPError as error:
                return _fault(FaultKind.LOST, f"broke the connection ({type(error).__name__})")
            return await self._checked(request, response)
        return _fault(FaultKind.UNSENT, f"cannot be reached: {reason}")

    def _pinned(self, request: httpx2.Request, target: Target, address: str) -> httpx2.Request:
        headers = httpx2.Headers(request.headers)
        headers["Host"] = target.host_header
        # Uncompressed, so that the limit counts what really arrives in memory.
        headers["Accept-Encoding"] = "identity"
        read = None if request.method == "GET" else self._timeout_seconds
        timeout = {"connect": _CONNECT_SECONDS, "read": read, "write": self._timeout_seconds, "pool": None}
        if request.method == "DELETE":
            timeout["read"] = _CLOSE_SECONDS
        return httpx2.Request(
            request.method,
            request.url.copy_with(host=address, port=target.port),
            headers=headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": target.host, "timeout": timeout},
        )

    async def _checked(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        stream = response.stream
        assert isinstance(stream, httpx2.AsyncByteStream)  # noqa: S101  # the transport is asynchronous
        if response.status_code < 400 and response.status_code not in _REDIRECTS:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                await stream.aclose()
                return _fault(FaultKind.LOST, "sent a compressed answer, which was not asked for")
            bounded = _Bounded(stream, self._clock, None if request.method == "GET" else self._timeout_seconds)
            return httpx2.Response(
                response.status_code, headers=response.headers, stream=bounded, extensions=response.extensions
            )
        body = await _first_bytes(stream)
        return _refusal(request, response, body)


class _Bounded(httpx2.AsyncByteStream):
    """An answer that is cut off at a size and, unless it is the stream of the server's own messages, at a time."""

    def __init__(self, inner: httpx2.AsyncByteStream, clock: Clock, seconds: float | None) -> None:
        self._inner = inner
        self._clock = clock
        self._seconds = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        began = self._clock.monotonic()
        size = 0
        try:
            async for piece in self._inner:
                size += len(piece)
                now = self._clock.monotonic()
                if self._seconds is None and now - began > 60.0:
                    began, size = now, len(piece)
                if self._seconds is not None and now - began > self._seconds:
                    _cut(f"was still sending after {self._seconds:g} s")
                if size > (MAX_MESSAGE_BYTES if self._seconds is not None else _STREAM_BYTES_A_MINUTE):
                    _cut(f"sent more than {MAX_MESSAGE_BYTES // 2**20} MiB and was cut off")
                yield piece
        except httpx2.TimeoutException:
            _cut("stopped in the middle of its answer")
        except httpx2.TransportError as error:
            _cut(f"broke the connection in the middle of its answer ({type(error).__name__})")

    async def aclose(self) -> None:
        await self._inner.aclose()


def _cut(why: str) -> NoReturn:
    raise CutOffError(why) from None


async def _first_bytes(stream: httpx2.AsyncByteStream) -> bytes:
    body = bytearray()
    try:
        async for piece in stream:
            body += piece
            if len(body) >= _MAX_ERROR_BYTES:
                break
    except httpx2.TransportError:
        pass
    finally:
        await stream.aclose()
    return bytes(body[:_MAX_ERROR_BYTES])


def _refusal(request: httpx2.Request, response: httpx2.Response, body: bytes) -> httpx2.Response:
    """What a status of 300 and over comes to. A JSON-RPC error of the server's own is passed on."""
    status = response.status_code
    if status in _REDIRECTS:
        # Handed on without its body: the SDK follows it within the origin only, and comes back here.
        return httpx2.Response(status, headers=[("location", response.headers.get("location", ""))])
    if status in (401, 403):
        named = "a header for it is in the agent file" if "authorization" in request.headers else "none was sent"
        said = f"answered HTTP status {status}: it wants other credentials ({named}; set mcp.headers)"
        return _fault(FaultKind.REFUSED, said)
    if status == 404 and "mcp-session-id" in request.headers:
        return _fault(FaultKind.FORGOTTEN, "has forgotten the connection", status=404)
    if _is_rpc_error(body):
        return httpx2.Response(status, headers=[("content-type", "application/json")], content=body)
    excerpt = " ".join(body[:300].decode("utf-8", "replace").split())
    kind = FaultKind.LOST if status >= 500 else FaultKind.REFUSED
    return _fault(kind, f"answered HTTP status {status}: {excerpt}".rstrip(": "), status=status)


def _is_rpc_error(body: bytes) -> bool:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    error = said.get("error") if isinstance(said, dict) else None
    return isinstance(error, dict) and error.get("code") not in FAULT_CODES


def _fault(kind: FaultKind, message: str, *, status: int = 400) -> httpx2.Response:
    body = orjson.dumps({"jsonrpc": "2.0", "id": 0, "error": {"code": _CODES[kind], "message": message}})
    return httpx2.Response(status, headers=[("content-type", "application/json")], content=body)
