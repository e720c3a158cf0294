"""Artifacts over HTTP: the list of a run, and one as the file that it is."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from starlette.responses import Response

from callboard.errors import NotFoundError
from callboard.integrations.http_api.context import InContext, known_id
from callboard.integrations.http_api.documents import answers
from callboard.integrations.http_api.json_body import StrictJsonRoute
from callboard.integrations.http_api.replies import JsonReply
from callboard.state.artifacts import Artifact

_SHOWN = frozenset({"image/png"})
"""What a browser may show by itself; everything else is saved, because strangers may have written it."""


def artifact_routes(prefix: str) -> APIRouter:
    router = APIRouter(prefix=prefix, tags=["artifacts"], route_class=StrictJsonRoute)
    router.get("/runs/{run_id}/artifacts", **answers(200, None, 404))(list_artifacts)
    router.get("/artifacts/{artifact_id}", **_a_file())(read_artifact)
    return router


async def list_artifacts(context: InContext, run_id: str) -> JsonReply:
    """What the run and its steps have made beside text, oldest first."""
    context.may("run.read", run_id)
    services = context.services
    if await services.queries.find(known_id(run_id, "run"), tenant=context.tenant) is None:
        raise NotFoundError(f"there is no run {run_id}")
    kept = await services.artifacts.of_run(run_id, tenant=context.tenant)
    return JsonReply({"artifacts": [_shape(artifact) for artifact in kept]})


async def read_artifact(context: InContext, artifact_id: str) -> Response:
    """The artifact itself, under its own media type."""
    context.may("artifact.read", artifact_id)
    artifact, body = await context.services.artifacts.load(known_id(artifact_id, "artifact"), tenant=context.tenant)
    way = "inline" if artifact.media_type in _SHOWN else "attachment"
    return Response(
        body,
        media_type=artifact.media_type,
        headers={
            "Content-Disposition": f"{way}; filename*=UTF-8''{quote(artifact.name, safe='')}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cache-Control": "private, max-age=3600, immutable",
            "ETag": f'"{artifact.digest}"',
        },
    )


def _a_file() -> dict[str, Any]:
    wanted = answers(200, None, 404)
    wanted["responses"][200] = {"description": "The artifact itself", "content": {"application/octet-stream": {}}}
    return {**wanted, "response_class": Response}


def _shape(artifact: Artifact) -> dict[str, Any]:
    return {
        "id": artifact.id,
        "run_id": artifact.run_id,
        "name": artifact.name,
        "media_type": artifact.media_type,
        "size_bytes": artifact.size_bytes,
        "sha256": artifact.digest,
        "created_at": artifact.created_at,
    }
