"""The artifacts of one run, as its tools see them."""

from __future__ import annotations

from callboard.agents.tools.tool import ToolError
from callboard.errors import TooLargeError
from callboard.state.artifact_store import ArtifactStore
from callboard.state.runs import Run


class RunArtifacts:
    """`Artifacts` over the store: everything that is kept belongs to the run, and goes with it."""

    def __init__(self, store: ArtifactStore, run: Run) -> None:
        self._store = store
        self._run_id = run.run_id
        self._tenant = run.tenant

    async def keep(self, name: str, media_type: str, body: bytes) -> str:
        try:
            kept = await self._store.keep(self._run_id, name, media_type, body, tenant=self._tenant)
        except TooLargeError as error:
            raise ToolError(error.message) from error
        return kept.reference
