"""Time that passes for processes, which no clock of a test's own reaches."""

from __future__ import annotations

import asyncio


async def let_pass(seconds: float) -> None:
    """How long a server stays away, or a process is watched: nothing that could be waited for says when it is over."""
    await asyncio.sleep(seconds)
