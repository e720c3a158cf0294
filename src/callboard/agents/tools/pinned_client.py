"""One HTTP exchange with a checked address and nothing else: no proxy, no second look-up, no redirect followed."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx2

from callboard.agents.tools.resolver import Resolver
from callboard.agents.tools.safe_url import Target, UnsafeUrlError, UrlPolicy, check_addresses
from callboard.agents.tools.tool import ToolError

_CONNECT_SECONDS = 5.0
_MAX_ADDRESSES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What came back: `body` is the first bytes as sent, `cut` says that there were more."""

    status: int
    content_type: str
    location: str | None
    body: bytes
    cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOrder:
    """What is to be sent."""

    method: str
    target: Target
    headers: Mapping[str, str]
    body: bytes | None = None


class PinnedClient:
    """Resolves once, checks every address, connects to a checked one by its number.

    The name goes into the Host header, and for https into SNI and the certificate's check. No connection is kept: a
    kept one, found by its address, could serve another name than its certificate was checked for.
    """

    def __init__(self, resolver: Resolver, tls: Callable[[], ssl.SSLContext], *, max_bytes: int) -> None:
        self._resolver = resolver
        self._tls = tls
        self._max_bytes = max_bytes

    async def send(self, order: HttpOrder, policy: UrlPolicy) -> HttpAnswer:
        """Raises UnsafeUrlError, or ToolError whose `outcome_unknown` says that the request had gone out."""
        addresses = await self._addresses(order.target)
        check_addresses(order.target, addresses, policy)
        verify: ssl.SSLContext | bool = self._tls() if order.target.scheme == "https" else False
        limits = httpx2.Limits(max_keepalive_connections=0)
        timeout = httpx2.Timeout(None, connect=_CONNECT_SECONDS)
        reason = ""
        async with httpx2.AsyncClient(verify=verify, trust_env=False, limits=limits, timeout=timeout) as client:
            for address in addresses[:_MAX_ADDRESSES]:
                try:
                    return await self._exchange(client, order, address)
                except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                    reason = ": its certificate is not valid for that name" if "CERTIFICATE" in str(error) else ""
                except httpx2.HTTPError as error:
                    raise ToolError(
                        f"{order.target.host}: {type(error).__name__} during the exchange", outcome_unknown=True
                    ) from error
        raise ToolError(f"{order.target.host} cannot be reached on port {order.target.port}{reason}")

    async def _addresses(self, target: Target) -> Sequence[str]:
        if target.is_address:
            return [target.host]
        try:
            return await self._resolver.resolve(target.host, target.port)
        except (OSError, UnicodeError):
            raise ToolError(f"{target.host} cannot be found") from None

    async def _exchange(self, client: httpx2.AsyncClient, order: HttpOrder, address: str) -> HttpAnswer:
        try:
            url = httpx2.URL(order.target.url).copy_with(host=address, port=order.target.port)
        except httpx2.InvalidURL:
            raise UnsafeUrlError("refused: the URL is malformed") from None
        # Uncompressed, so that the limit below counts what really arrives in memory.
        headers = {**order.headers, "Host": order.target.host_header, "Accept-Encoding": "identity"}
        request = client.build_request(
            order.method, url, headers=headers, content=order.body, extensions={"sni_hostname": order.target.host}
        )
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            body, cut = await self._read(response)
        finally:
            await response.aclose()
        return HttpAnswer(
            status=response.status_code,
            content_type=response.headers.get("content-type", ""),
            location=response.headers.get("location"),
            body=body,
            cut=cut,
        )

    async def _read(self, response: httpx2.Response) -> tuple[bytes, bool]:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            return b"", True
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > self._max_bytes:
                return bytes(body[: self._max_bytes]), True
        return bytes(body), False
