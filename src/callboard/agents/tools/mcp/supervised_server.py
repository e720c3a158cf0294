"""One MCP server as this process uses it: started when needed, started anew when it dies, closed when idle."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import JsonValue

from callboard.agents.tools.mcp.server_settings import McpServerSettings
from callboard.agents.tools.mcp.session import FaultKind, McpFault, McpSession, OpenSession
from callboard.clock import Clock
from callboard.logs import StructuredLogger

START_SECONDS = 30.0
LIST_SECONDS = 20.0
IDLE_SECONDS = 600.0
MAX_STARTS = 5
STARTS_WINDOW_SECONDS = 60.0
MAX_SILENCES = 2
"""So many calls without an answer, one after the other, and the server counts as hanging: it is started anew."""
_BACKOFF_SECONDS = (0.0, 0.25, 1.0, 2.0, 4.0)
_LAST_WORDS_SECONDS = 1.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a server offered at a moment."""

    entries: tuple[JsonValue, ...]
    at: float


@dataclass(eq=False, slots=True)
class _Life:
    """From one start to its end. `over` gets the reason."""

    ready: asyncio.Future[McpSession]
    over: asyncio.Future[str]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class SupervisedServer:
    """Shared by every agent of a tenant with the same settings. All raises McpFault; nothing waits without a bound."""

    def __init__(
        self,
        settings: McpServerSettings,
        open_session: OpenSession,
        clock: Clock,
        *,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self._settings = settings
        self._open = open_session
        self._clock = clock
        self._start_seconds = start_seconds
        self._log = StructuredLogger("mcp")
        self._life: _Life | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._starts: deque[float] = deque(maxlen=MAX_STARTS)
        self._failures = 0
        self._silences = 0
        self._in_use = 0
        self._last_used = clock.monotonic()
        self._listing: Listing | None = None
        self._relisting: asyncio.Future[Listing] | None = None
        self._closed = False

    @property
    def at_rest(self) -> bool:
        """Whether it holds nothing that would have to be closed."""
        return not self._tasks

    async def listing(self, max_age_seconds: float) -> Listing:
        """What the server offers, asked for now unless that was done within `max_age_seconds`.

        A server that says that its tools have changed is asked anew whatever the age.
        """
        known = self._listing
        if known is not None and self._clock.monotonic() - known.at < max_age_seconds:
            return known
        if self._relisting is None or self._relisting.done():
            self._relisting = asyncio.ensure_future(self._list())
        # Shared by all who ask meanwhile; shielded, because one of them may give up.
        return await asyncio.shield(self._relisting)

    async def _list(self) -> Listing:
        async with self._using():
            entries = await self._served(lambda session: session.list_tools(LIST_SECONDS))
            self._listing = Listing(entries=tuple(entries), at=self._clock.monotonic())
            return self._listing

    async def call(
        self, tool: str, arguments: Mapping[str, JsonValue], meta: Mapping[str, JsonValue], timeout_seconds: float
    ) -> Mapping[str, JsonValue]:
        """One call. Made a second time only where the server said that it has not looked at the first."""
        async with self._using():
            return await self._served(lambda session: session.call_tool(tool, arguments, meta, timeout_seconds))

    async def _served(self, ask: Callable[[McpSession], Awaitable[Answer]]) -> Answer:
        life, session = await self._connected()
        try:
            return await self._asked(life, ask(session))
        except McpFault as fault:
            if fault.kind is not FaultKind.FORGOTTEN:
                raise
        life, session = await self._connected()
        return await self._asked(life, ask(session))

    async def close(self) -> None:
        """Ends the server; it is not started again."""
        self._closed = True
        life = self._life
        if life is not None:
            life.stop.set()
            if life.task is not None and not life.ready.done():
                life.task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)  # those that are ending by themselves, too
        if self._relisting is not None:
            await asyncio.gather(self._relisting, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def _using(self) -> AsyncIterator[None]:
        self._in_use += 1
        try:
            yield
        finally:
            self._in_use -= 1
            self._last_used = self._clock.monotonic()

    async def _asked(self, life: _Life, answer: Awaitable[Answer]) -> Answer:
        """The answer; what a failure says about the server decides whether it is started anew."""
        try:
            said = await answer
        except McpFault as fault:
            if fault.kind is FaultKind.TIMED_OUT:
                self._silences += 1
                if self._silences >= MAX_SILENCES:
                    self._retire(life, "was ended: it did not answer several calls in a row")
            elif fault.kind is FaultKind.FORGOTTEN:
                self._retire(life, fault.message)
            elif fault.kind is FaultKind.LOST and self._settings.url is None:
                fault = await self._last_words(life, fault)
            if fault.may_have_happened:
                # Under the run's trace: the question whether to repeat the call does not say what went wrong.
                self._log.warning(f"{self._settings.described} {fault.message}", outcome="unknown")
            raise fault from None
        self._silences = 0
        self._failures = 0
        return said

    async def _last_words(self, life: _Life, fault: McpFault) -> McpFault:
        """A broken connection is known by its end: the process's exit code and complaints, if they come soon."""
        await asyncio.wait({life.over}, timeout=_LAST_WORDS_SECONDS)
        return McpFault(life.over.result(), fault.kind) if life.over.done() else fault

    def _retire(self, life: _Life, why: str) -> None:
        if self._life is life:
            self._life = None
            self._listing = None
            self._silences = 0
        if not life.over.done():
            life.over.set_result(why)
        life.stop.set()

    async def _connected(self) -> tuple[_Life, McpSession]:
        life = self._life
        if life is None:
            life = self._begin()
        # Shielded: who gives up waiting does not end what others wait for.
        return life, await asyncio.shield(life.ready)

    def _begin(self) -> _Life:
        if self._closed:
            raise McpFault("is not started any more: this process is ending", FaultKind.UNSENT)
        now = self._clock.monotonic()
        if len(self._starts) == MAX_STARTS and now - self._starts[0] < STARTS_WINDOW_SECONDS:
            wait = STARTS_WINDOW_SECONDS - (now - self._starts[0])
            raise McpFault(
                f"was started {MAX_STARTS} times within a minute and is left alone for {wait:.0f} s",
                FaultKind.UNSENT,
            )
        self._starts.append(now)
        loop = asyncio.get_running_loop()
        life = _Life(loop.create_future(), loop.create_future())
        self._life = life
        # In a context of its own: the trace of the run that happened to be first is not the server's.
        task = loop.create_task(self._live(life), name=f"mcp {self._settings.label}", context=contextvars.Context())
        life.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return life

    async def _live(self, life: _Life) -> None:
        """Holds the connection open; entered and left in this one task, as the SDK wants it."""
        why = "was closed"
        try:
            await self._clock.sleep(_BACKOFF_SECONDS[min(self._failures, len(_BACKOFF_SECONDS) - 1)])
            async with asyncio.timeout(self._start_seconds) as starting:
                async with self._open(self._settings, self._tools_changed) as session:
                    starting.reschedule(None)
                    self._failures += 1  # until it has answered a call
                    self._log.info(f"{self._settings.described} is connected")
                    life.ready.set_result(session)
                    why = await self._until_over(life, session)
        except TimeoutError:
            why = f"did not start within {self._start_seconds:g} s"
        except McpFault as fault:
            why = fault.message
        except Exception as error:  # noqa: BLE001  # a connection of the SDK's may end with anything, in a group
            why = _why(error)
        finally:
            self._ended(life, why)

    def _ended(self, life: _Life, why: str) -> None:
        if not life.ready.done():
            self._failures += 1
            life.ready.set_exception(McpFault(why, FaultKind.UNSENT))
            life.ready.exception()  # seen: perhaps nobody waits for it any more
        self._retire(life, why)
        self._log.info(f"{self._settings.described} has ended", reason=life.over.result())

    async def _until_over(self, life: _Life, session: McpSession) -> str:
        """The reason. From then on nobody is given this life any more, though its end takes a while."""
        ended = asyncio.ensure_future(session.ended())
        stopped = asyncio.ensure_future(life.stop.wait())
        idle = asyncio.ensure_future(self._idle())
        try:
            while True:
                await asyncio.wait({ended, stopped, idle}, return_when=asyncio.FIRST_COMPLETED)
                if ended.done() or stopped.done() or not self._in_use:
                    break
                idle = asyncio.ensure_future(self._idle())  # a call came at the last moment
            why = ended.result() if ended.done() else "was closed" if stopped.done() else "was closed: it was idle"
            self._retire(life, why)
            return why
        finally:
            for each in (ended, stopped, idle):
                each.cancel()
            await asyncio.gather(ended, stopped, idle, return_exceptions=True)

    async def _idle(self) -> None:
        while self._in_use or self._clock.monotonic() - self._last_used < IDLE_SECONDS:
            await self._clock.sleep(IDLE_SECONDS / 10)

    def _tools_changed(self) -> None:
        self._listing = None


def _why(error: BaseException) -> str:
    """The first thing that went wrong, out of the groups it comes in; a verdict of ours as it is."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, McpFault):
        return error.message
    return f"broke the connection: {type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(": ")
