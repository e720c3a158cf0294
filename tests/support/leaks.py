"""What a test must not leave behind: running tasks and threads."""

from __future__ import annotations

import asyncio
import threading
import time

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
