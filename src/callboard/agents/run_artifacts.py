"""The artifacts of one run, as its tools see them."""

from __future__ import annotations

from callboard.agents.tools.tool import ToolError
from callboard.errors import NotFoundError, TooLargeError
from callboard.state.artifact_store import ArtifactStore
from callboard.state.runs import Run

REFERENCE = "artifact:"


class RunArtifacts:
    """`Artifacts` over the store: everything that is kept belongs to the run, and goes with it."""

    def __init__(self, store: ArtifactStore, run: Run) -> None:
        self._store = store
        self._run_id = run.run_id
        # What a replay is told by the recording may refer to what the original has kept.
        self._families = (run.root,) if run.variant is None else (run.root, run.variant.origin)
        self._tenant = run.tenant

    async def keep(self, name: str, media_type: str, body: bytes) -> str:
        try:
            kept = await self._store.keep(self._run_id, name, media_type, body, tenant=self._tenant)
        except TooLargeError as error:
            raise ToolError(error.message) from error
        return kept.reference

    async def read(self, reference: str) -> tuple[str, bytes]:
        try:
            artifact, body = await self._store.load(reference.removeprefix(REFERENCE), tenant=self._tenant)
        except NotFoundError:
            raise _unknown(reference) from None
        if artifact.run_id not in {self._run_id, *self._families} and not await self._is_of_a_family(artifact.id):
            raise _unknown(reference)
        return artifact.media_type, body

    async def _is_of_a_family(self, artifact_id: str) -> bool:
        for root in self._families:
            family = await self._store.of_run(root, tenant=self._tenant)
            if any(known.id == artifact_id for known in family):
                return True
        return False


def _unknown(reference: str) -> ToolError:
    return ToolError(f"there is no artifact {reference[:100]!r} of this run")
