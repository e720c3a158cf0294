"""Connections to PostgreSQL: a pool of held ones, and knowing whether the server is there.

A connection stays open between units and is given out without a round trip: the driver says by itself that one was
closed. A server that refuses connections, or gives no sign of life, is *away*: from then on every call fails at once
and a probe looks for its return.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from callboard.errors import UnavailableError
from callboard.ids import RandomIds, fraction
from callboard.logs import StructuredLogger
from callboard.state.sql.postgres_errors import Kind, is_denied, kind_of, state_of, unavailable

TICK_SECONDS = 0.25
SILENCE_SECONDS = 1.5
"""A unit that takes longer makes the pool ask the server for a sign of life."""
PROBE_SECONDS = 1.2
RETURN_PAUSE_SECONDS = 0.4
DENIED_PAUSE_SECONDS = 5.0
IDLE_SECONDS = 60.0

_IS_STANDBY = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"


@dataclass(eq=False, slots=True)
class Link:
    """One connection: as the toolkit sees it, and the driver's own under it."""

    connection: AsyncConnection
    driver: Any
    since: float
    """When it was given out, or given back."""
    asked: float = 0.0


class _StandbyError(Exception):
    """The server answers, and cannot write."""

    sqlstate = "25006"


class Links:
    """The pool. All of it belongs to the event loop that calls `start`."""

    def __init__(
        self, engine: AsyncEngine, where: str, *, size: int, connect_seconds: float, wait_seconds: float
    ) -> None:
        self._engine = engine
        self._where = where
        self._ids = RandomIds()
        self._size = size
        self._connect_seconds = connect_seconds
        self._wait_seconds = wait_seconds
        self._idle: list[Link] = []
        self._used: set[Link] = set()
        self._opening = 0
        self._waiters: deque[asyncio.Future[Link | None]] = deque()
        self._away: UnavailableError | None = None
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._searches: list[asyncio.Task[None]] = []
        self._log = StructuredLogger("database")
        self._answered = 0
        """How often the server has done something: on a busy machine it may be slow and yet not away."""

    @property
    def open(self) -> int:
        return len(self._idle) + len(self._used) + self._opening

    async def start(self) -> None:
        """Looks whether the server is there; its absence is no error here, calls will tell."""
        self._searches.append(self._spawn(self._watch()))
        with contextlib.suppress(UnavailableError):
            self.give(await self.take())

    async def take(self) -> Link:
        """A connection of one's own until `give` or `drop`. Raises UnavailableError."""
        while True:
            if self._closed:
                raise UnavailableError(f"the database {self._where} is closed")
            if self._away is not None:
                raise UnavailableError(self._away.message)
            if self._idle:
                return self._used_from_now(self._idle.pop())
            if self.open < self._size:
                link = await self._open_one()
            else:
                link = await self._wait()
            if link is not None:
                return self._used_from_now(link)

    def give(self, link: Link) -> None:
        """Back into the pool, outside any transaction, after the server did what was asked."""
        self._used.discard(link)
        self._answered += 1
        if self._closed or self._away is not None or link.driver.is_closed():
            self._end(link)
            self._offer(None)
            return
        link.since = asyncio.get_running_loop().time()
        if not self._offer(link):
            self._idle.append(link)

    def drop(self, link: Link) -> None:
        """A connection that is broken, or in a state that nobody knows."""
        self._used.discard(link)
        self._end(link)
        self._offer(None)

    def lost(self) -> None:
        """A connection broke: the idle ones may be as old, so nobody is given one of them."""
        idle, self._idle = self._idle, []
        for link in idle:
            self._end(link)

    async def close(self) -> None:
        self._closed = True
        for search in self._searches:
            search.cancel()
        self._fail_waiters(UnavailableError(f"the database {self._where} is closed"))
        for link in [*self._idle, *self._used]:
            with contextlib.suppress(Exception):  # whatever is wrong with it, it is let go
                async with asyncio.timeout(1.0):
                    await link.driver.close()
            self._end(link)
        self._idle.clear()
        self._used.clear()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _used_from_now(self, link: Link) -> Link:
        link.since = link.asked = asyncio.get_running_loop().time()
        self._used.add(link)
        return link

    async def _open_one(self) -> Link | None:
        self._opening += 1
        answered = self._answered
        try:
            return await self._connect(self._connect_seconds)
        except Exception as error:
            full = state_of(error) == "53300" or (isinstance(error, TimeoutError) and answered != self._answered)
            if full and self._idle:
                return self._idle.pop()  # given back while this one was refused: nobody would offer it again
            if full and (self._used or self._opening > 1):
                return await self._wait()
            if kind_of(error) in (Kind.LOST, Kind.REFUSED):
                self._gone(error)
                raise unavailable(self._where, error) from error
            raise
        finally:
            self._opening -= 1

    async def _wait(self) -> Link | None:
        waiter: asyncio.Future[Link | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._wait_seconds):
                return await waiter
        except TimeoutError:
            if waiter.done() and not waiter.cancelled():
                return waiter.result()  # it came with the last moment
            raise UnavailableError(
                f"all {self._size} connections to the database {self._where} are busy: raise CALLBOARD_DATABASE_POOL, "
                f"or see what keeps the server"
            ) from None
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _offer(self, link: Link | None) -> bool:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(link)
                return True
        return False

    async def _connect(self, seconds: float) -> Link:
        """A connection to a server that can write."""
        async with asyncio.timeout(seconds):
            connection = await self._engine.connect()
            try:
                driver = (await connection.get_raw_connection()).driver_connection
                assert driver is not None  # noqa: S101  # it has just been made
                await _must_write(driver)
            except BaseException:
                await connection.close()
                raise
        return Link(connection, driver, asyncio.get_running_loop().time())

    def _gone(self, error: BaseException) -> None:
        """From now on calls fail at once; a probe ends that."""
        self._away = unavailable(self._where, error)
        self._fail_waiters(self._away)
        for link in [*self._idle, *self._used]:
            link.driver.terminate()
        self.lost()
        self._log.error("the database is away", reason=self._away.message)
        self._searches = [search for search in self._searches if not search.done()]
        self._searches.append(self._spawn(self._await_return(denied=is_denied(error))))

    def _fail_waiters(self, error: UnavailableError) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(UnavailableError(error.message))

    async def _await_return(self, *, denied: bool) -> None:
        while self._away is not None and not self._closed:
            pause = DENIED_PAUSE_SECONDS if denied else RETURN_PAUSE_SECONDS
            # Not all processes knock at once.
            await asyncio.sleep(pause * (0.6 + 0.4 * fraction(self._ids.new())))
            try:
                link = await self._connect(self._connect_seconds)
            except Exception as error:  # noqa: BLE001  # whatever it is, the server is not there yet
                denied = is_denied(error)
                self._still_away(error)
            else:
                self._away = None
                self._idle.append(link)
                self._log.info("the database is back", where=self._where)

    def _still_away(self, error: BaseException) -> None:
        now = unavailable(self._where, error)
        if self._away is not None and now.message != self._away.message:
            self._log.error("the database is away", reason=now.message)
        self._away = now

    async def _watch(self) -> None:
        """Asks a silent server for a sign of life, and lets go of connections that nobody needs."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(TICK_SECONDS)
            now = loop.time()
            if now - before > 2 * TICK_SECONDS:
                # This process stood still: that says nothing about the server.
                for link in self._used:
                    link.asked = now
                continue
            silent = [link for link in self._used if now - link.asked > SILENCE_SECONDS]
            if silent and self._away is None:
                for link in silent:
                    link.asked = now
                await self._ask()
            self._let_go(now - IDLE_SECONDS)

    async def _ask(self) -> None:
        """On a new connection: those in use may be waiting for a lock, which is no fault of the server's."""
        answered = self._answered
        try:
            link = await self._connect(PROBE_SECONDS)
        except Exception as error:  # noqa: BLE001  # whatever it is, the server does not answer
            if state_of(error) != "53300" and answered == self._answered and self._away is None:
                self._gone(error)
        else:
            self._end(link)

    def _let_go(self, before: float) -> None:
        for link in [link for link in self._idle if link.since < before]:
            self._idle.remove(link)
            self._end(link)

    def _end(self, link: Link) -> None:
        link.driver.terminate()
        self._spawn(self._check_in(link))

    async def _check_in(self, link: Link) -> None:
        """The toolkit counts its connections: it must see this one closed."""
        with contextlib.suppress(Exception):
            await link.connection.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _must_write(driver: Any) -> None:
    if await driver.fetchval(_IS_STANDBY):
        raise _StandbyError("it takes no writes")
