"""A process that holds something of others: it registers, beats, and hands back what it has when it ends."""

from __future__ import annotations

import os
import platform

from callboard.bootstrap.core import Core
from callboard.errors import UnavailableError
from callboard.logs import StructuredLogger


class Registration:
    """What a role does about its row in `processes`, at its begin (which may be repeated) and at its end."""

    def __init__(self, core: Core, role: str) -> None:
        self._core = core
        self._role = role
        self._registered = False

    async def begin(self) -> None:
        if not self._registered:
            await self._core.processes.register(self._core.process_id, self._role, platform.node(), os.getpid())
            self._registered = True

    async def end(self) -> None:
        try:
            await self._core.processes.hand_back(self._core.process_id)
        except UnavailableError as error:
            # The sweeper finds that this process no longer beats, and gives what it had to others.
            StructuredLogger(self._role).warning("what is under way could not be handed back", reason=error.message)
