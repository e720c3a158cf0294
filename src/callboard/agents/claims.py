"""Taking runs out of the backlog into this process."""

from __future__ import annotations

from collections.abc import Callable

from callboard.agents.refusals import Refusals
from callboard.clock import Clock
from callboard.ids import Ids
from callboard.state.runs import ClaimedRun, ClaimRequest
from callboard.state.store import Store


class Claims:
    """Claims runs of one mode for one process (DESIGN.md, R5)."""

    def __init__(
        self,
        mode: str,
        *,
        store: Store,
        process_id: str,
        may_start: Callable[[], bool],
        refusals: Refusals,
        clock: Clock,
        ids: Ids,
    ) -> None:
        """`may_start` says whether the process still has its lease: without it nothing is claimed (R14)."""
        self._mode = mode
        self._store = store
        self._process_id = process_id
        self._may_start = may_start
        self._refusals = refusals
        self._clock = clock
        self._ids = ids

    async def take(self, free: int, *, batch: int, suspect: bool) -> list[ClaimedRun]:
        """At most `free` runs, at most `batch` of them from the batch lane; a `suspect` one only where that is so.

        They are this process's from then on. UnavailableError; FencedError if the process was declared dead.
        """
        if not self._may_start():
            return []
        return await self._store.claim(
            ClaimRequest(
                mode=self._mode,
                process_id=self._process_id,
                token=self._ids.new(),
                slots=free,
                batch_slots=batch,
                suspect=suspect,
                now=self._clock.now(),
                closed_agents=self._refusals.closed(),
            )
        )
