"""Keeps a process's prices and budgets as `config/models.yaml` has them (docs/decisions/0015-models-file.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from callboard.clock import Clock
from callboard.config.models_file import LoadedModels, ModelsFile, read_models
from callboard.errors import InvalidInputError
from callboard.logs import StructuredLogger

EVERY_SECONDS = 5.0


class ModelsWatch:
    """The settings in force. A file that is wrong at the start stops the process: nothing would hold its agents back.
    One that becomes wrong later is told, and the last good one goes on."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Reads the file. Raises InvalidInputError (`invalid_models_file`) with everything that is wrong with it."""
        self._path = path
        self._clock = clock
        self._listeners: list[Callable[[ModelsFile], None]] = []
        self._log = StructuredLogger("models-file")
        loaded = read_models(path)
        if loaded.models is None:
            told = "\n".join(str(problem) for problem in loaded.problems)
            raise InvalidInputError(f"{path} cannot be used:\n{told}", code="invalid_models_file")
        self._digest = loaded.digest
        self.current = loaded.models

    def subscribe(self, listener: Callable[[ModelsFile], None]) -> None:
        """`listener` is told what is in force, now and after each change."""
        self._listeners.append(listener)
        listener(self.current)

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            await self._clock.sleep(EVERY_SECONDS)
            self.take(await asyncio.to_thread(read_models, self._path))

    def take(self, loaded: LoadedModels) -> None:
        """What stands in the file now."""
        if loaded.digest == self._digest:
            return
        self._digest = loaded.digest
        if loaded.models is None:
            problems = [str(problem) for problem in loaded.problems]
            self._log.error("the file is refused, its last good version goes on", problems=problems)
            return
        self.current = loaded.models
        self._log.info("prices and budgets changed", file=str(self._path))
        for listener in self._listeners:
            listener(self.current)
