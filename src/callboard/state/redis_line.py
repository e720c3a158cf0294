"""One connection to Redis: an exchange at a time, each with its limit. The one file that knows the client library.

Measured (RELIABILITY.md, finding 8): the library's defaults block for seconds to minutes on a server that is away. So
nothing is tried twice, and the limit holds for an exchange as a whole: connecting, sending and the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from callboard.errors import InvalidInputError, UnavailableError


class RedisLine:
    """Connects when it is first asked, and again after an exchange that was broken off."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._connection = _connection(url, timeout_seconds)
        self._timeout_seconds = timeout_seconds
        self._lock = asyncio.Lock()
        # Without the password, which the URL may hold.
        host, port = (getattr(self._connection, name, "") for name in ("host", "port"))
        self.server = f"{host}:{port}" if host else str(getattr(self._connection, "path", ""))

    async def ask(self, *command: Any) -> Any:
        """The answer; UnavailableError for whatever reason there is none, a refusal included."""
        try:
            async with asyncio.timeout(self._timeout_seconds), self._lock:
                return await self._exchange(command)
        except AuthenticationError as error:
            raise UnavailableError("Redis refuses the user or password in REDIS_URL") from error
        except ResponseError as error:
            raise UnavailableError(f"Redis refuses {command[0]}: {str(error)[:200]}") from error
        except TimeoutError as error:
            raise UnavailableError(f"Redis gave no answer within {self._timeout_seconds:g} s") from error
        except (RedisError, OSError) as error:
            raise UnavailableError(
                f"Redis cannot be reached ({type(error).__name__}): is it running, and is REDIS_URL right?"
            ) from error

    async def close(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self._connection.disconnect()

    async def _exchange(self, command: Sequence[Any]) -> Any:
        whole = False
        try:
            await self._connection.send_command(*command, check_health=False)
            answer = await self._connection.read_response()
            whole = True
        except ResponseError:
            whole = True
            raise
        finally:
            if not whole:
                # The next answer on this connection would be the one that nobody waited for.
                await self._connection.disconnect(nowait=True)
        return answer


def _connection(url: str, timeout_seconds: float) -> AbstractConnection:
    try:
        pool = ConnectionPool.from_url(
            url,
            socket_timeout=None,  # the limit of the whole exchange costs a task less than the library's two
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            driver_info=None,
        )
        connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError) as error:
        raise InvalidInputError(
            "REDIS_URL cannot be used: it must look like redis://host:6379/0", code="invalid_settings"
        ) from error
    return connection
