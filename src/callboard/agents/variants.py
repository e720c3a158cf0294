"""Agents as replays want them: another version of the file, or the same one with another model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from callboard.config.catalog import CatalogEntry
from callboard.config.model_choice import with_model
from callboard.state.runs import Run

LoadEntry = Callable[[str, int], Awaitable[CatalogEntry]]
"""By name and version; NotFoundError."""


class Variants:
    """`entry` is asked before every claim's work and costs nothing for a run that replays nothing."""

    def __init__(self, load: LoadEntry) -> None:
        self._load = load

    async def entry(self, run: Run, entry: CatalogEntry) -> CatalogEntry:
        """`entry` is what the run's catalog has of the agent; the members stay those of that catalog.

        Raises NotFoundError and InvalidInputError for what cannot be had.
        """
        if run.variant is None:
            return entry
        if run.agent_version != entry.version:
            entry = await self._load(run.agent, run.agent_version)
        return entry if run.variant.model is None else with_model(entry, run.variant.model)
