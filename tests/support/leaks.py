"""What a test must not leave behind: running tasks, threads and open connections."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Any

from tests.support.waiting import wait_until

_GRACE_SECONDS = 2.0


def started_since(before: set[threading.Thread]) -> list[threading.Thread]:
    """The threads that are new and still alive after a short grace."""
    deadline = time.monotonic() + _GRACE_SECONDS
    new = [thread for thread in threading.enumerate() if thread not in before]
    for thread in new:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [thread for thread in new if thread.is_alive()]


async def left_over(before: set[asyncio.Task[object]]) -> list[asyncio.Task[object]]:
    """The tasks that are new and not done after a short grace; they are cancelled here."""
    present = asyncio.current_task()
    new = {task for task in asyncio.all_tasks() if task not in before and task is not present}
    if not new:
        return []
    _, pending = await asyncio.wait(new, timeout=_GRACE_SECONDS)
    for task in pending:
        task.cancel()
    return sorted(pending, key=lambda task: task.get_name())


async def left_open(before: set[asyncio.Transport]) -> list[str]:
    """The connections that are new and not closed after a short grace, each with who holds it; they are ended here.

    The warning that Python itself gives comes when the garbage is collected: amid another test, and without a name.
    """

    def new() -> list[asyncio.Transport]:
        return [transport for transport in connections() if transport not in before]

    with contextlib.suppress(AssertionError):
        await wait_until(lambda: not new(), "all connections are closed", within=_GRACE_SECONDS)
    left = new()
    for transport in left:
        transport.abort()
    return sorted(_shown(transport) for transport in left)


def connections() -> set[asyncio.Transport]:
    """Those of the running loop that nobody has begun to close."""
    known: Any = getattr(asyncio.get_running_loop(), "_transports", {})  # kept by asyncio, shown by nothing public
    return {transport for transport in known.values() if not transport.is_closing()}


def _shown(transport: asyncio.Transport) -> str:
    names = (transport.get_extra_info(name) for name in ("sockname", "peername"))
    return f"{' to '.join(map(str, names))} of {transport.get_protocol()!r}"
