"""aiohttp under httpx2: the clients of the SDKs stay what they are, and the wire costs a third of the processor time.

httpx2's own pool looks at every connection for every call, so that 200 calls at once cost twice as much each.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from multidict import CIMultiDict
from yarl import URL

KEPT_SECONDS = 60.0
"""So long an idle connection is kept."""
MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Of one answer. The longest that a model gives is a twentieth of it; a server that goes on is cut off."""


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """As many connections as calls at once; who may call is decided elsewhere. Proxies come from the environment."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        # aiohttp would ask the environment for each call, and in a thread.
        self._proxies = getproxies()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises httpx2's exceptions, as the SDKs expect."""
        limits = request.extensions.get("timeout", {})
        with _told(request):
            response = await self._open_session().request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=_headers(request),
                data=await request.aread() or None,
                allow_redirects=False,
                proxy=self._proxy(request.url),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=limits.get("connect"), sock_read=limits.get("read")
                ),
            )
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            response.close()
            raise httpx2.RemoteProtocolError("the answer is compressed, which was not asked for", request=request)
        return httpx2.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_Body(request, response),
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _proxy(self, url: httpx2.URL) -> str | None:
        proxy = self._proxies.get(url.scheme)
        return None if proxy is None or proxy_bypass(url.host) else proxy

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEPT_SECONDS, ssl=httpx2.create_ssl_context(), happy_eyeballs_delay=None
            )
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session


class _Body(httpx2.AsyncByteStream):
    """A response's body as it comes; closed before its end, it takes its connection with it."""

    def __init__(self, request: httpx2.Request, response: aiohttp.ClientResponse) -> None:
        self._request = request
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        with _told(self._request):
            async for piece in self._response.content.iter_any():
                seen += len(piece)
                if seen > MAX_ANSWER_BYTES:
                    raise httpx2.ReadError(f"the answer has over {MAX_ANSWER_BYTES} bytes", request=self._request)
                yield piece

    async def aclose(self) -> None:
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def _headers(request: httpx2.Request) -> CIMultiDict[str]:
    headers = CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw)
    # What arrives is what is counted: a few compressed bytes could fill the memory.
    headers["Accept-Encoding"] = "identity"
    return headers


@contextlib.contextmanager
def _told(request: httpx2.Request) -> Iterator[None]:
    """What aiohttp raises, as what httpx2 would."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise _as(httpx2.ConnectTimeout, request, error) from error
    except (aiohttp.ServerTimeoutError, TimeoutError) as error:
        raise _as(httpx2.ReadTimeout, request, error) from error
    except aiohttp.InvalidURL as error:
        raise _as(httpx2.UnsupportedProtocol, request, error) from error
    except aiohttp.ClientConnectorError as error:
        raise _as(httpx2.ConnectError, request, error) from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
        raise _as(httpx2.RemoteProtocolError, request, error) from error
    except (aiohttp.ClientError, OSError) as error:
        raise _as(httpx2.ReadError, request, error) from error


def _as(kind: type[Any], request: httpx2.Request, error: Exception) -> Any:
    return kind(str(error) or type(error).__name__, request=request)
