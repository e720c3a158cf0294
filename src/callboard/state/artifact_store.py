"""Artifacts as verbs: kept by the tools of a run, read by people, gone with the run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial

from callboard.clock import Clock
from callboard.errors import TooLargeError
from callboard.ids import derive_id
from callboard.state.artifacts import MAX_ARTIFACT_BYTES, Artifact, file_name, media_type_of
from callboard.state.database import Database
from callboard.state.sql import artifacts


class ArtifactStore:
    """An artifact never changes; the same body of the same run is one artifact, whatever it is called later."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def keep(self, run_id: str, name: str, media_type: str, body: bytes, *, tenant: str = "default") -> Artifact:
        """Durable when it returns. TooLargeError for a body over 8 MiB, or when the run keeps too many."""
        if len(body) > MAX_ARTIFACT_BYTES:
            raise TooLargeError(f"{file_name(name)} has {len(body)} bytes; the limit is {MAX_ARTIFACT_BYTES}")
        digest = hashlib.sha256(body).hexdigest()
        artifact = Artifact(
            id=derive_id("artifact", run_id, digest),
            tenant=tenant,
            run_id=run_id,
            name=file_name(name),
            media_type=media_type_of(media_type),
            size_bytes=len(body),
            digest=digest,
            created_at=self._clock.now(),
        )
        return await self._database.write(partial(artifacts.keep, artifact=artifact, body=body), repeatable=True)

    async def load(self, artifact_id: str, *, tenant: str = "default") -> tuple[Artifact, bytes]:
        """The artifact with its body. NotFoundError, for another tenant's as well."""
        return await self._database.read(partial(artifacts.load, tenant=tenant, artifact_id=artifact_id))

    async def named(self, run_id: str, ids: Sequence[str], *, tenant: str = "default") -> Sequence[Artifact]:
        """Those of the ids that the run or the runs under it have made, in no order."""
        return await self._database.read(partial(artifacts.list_named, tenant=tenant, run_id=run_id, ids=ids))

    async def of_run(self, run_id: str, *, tenant: str = "default", limit: int = 500) -> Sequence[Artifact]:
        """What the run and the runs under it have made, oldest first."""
        return await self._database.read(partial(artifacts.list_of_run, tenant=tenant, run_id=run_id, limit=limit))
