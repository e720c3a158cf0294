"""Artifacts over HTTP: the right type, and nothing that a browser would run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.api_house import ApiHouse, api_house

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


async def made(house: ApiHouse, name: str, media_type: str, body: bytes) -> tuple[str, str]:
    """A run, and the artifact that it made."""
    async with house.client() as client:
        run_id = await house.invoke(client, name)
    await house.work()
    return run_id, (await house.services.artifacts.keep(run_id, name, media_type, body)).id


async def test_an_image_is_shown_and_everything_else_is_saved(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        _, chart = await made(house, "chart.png", "image/png", PNG)
        shown = await client.get(f"/api/v1/artifacts/{chart}")
        assert shown.status_code == 200
        assert shown.content == PNG
        assert shown.headers["content-type"] == "image/png"
        assert shown.headers["content-disposition"] == "inline; filename*=UTF-8''chart.png"
        for media_type in ("text/html", "image/svg+xml", "application/json", "application/pdf"):
            _, page = await made(house, "seite ü.x", media_type, f"<script>{media_type}</script>".encode())
            saved = await client.get(f"/api/v1/artifacts/{page}")
            assert saved.headers["content-type"].startswith(media_type)
            assert saved.headers["content-disposition"] == "attachment; filename*=UTF-8''seite%20%C3%BC.x"
            assert saved.headers["x-content-type-options"] == "nosniff"
            assert "sandbox" in saved.headers["content-security-policy"]


async def test_the_list_of_a_run_names_what_it_made(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        run_id, artifact_id = await made(house, "chart.png", "image/png", PNG)
        listed = (await client.get(f"/api/v1/runs/{run_id}/artifacts")).json()["artifacts"]
        assert [(each["id"], each["name"], each["size_bytes"]) for each in listed] == [
            (artifact_id, "chart.png", len(PNG))
        ]
        empty = await house.invoke(client)
        assert (await client.get(f"/api/v1/runs/{empty}/artifacts")).json() == {"artifacts": []}


@pytest.mark.parametrize("path", [f"artifacts/{'f' * 32}", "artifacts/..%2Fetc", f"runs/{'f' * 32}/artifacts"])
async def test_what_nobody_made_is_not_found(tmp_path: Path, path: str) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        answer = await client.get(f"/api/v1/{path}")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"


async def test_an_artifact_needs_the_token_like_everything_else(tmp_path: Path) -> None:
    async with api_house(tmp_path, token="t0ken-of-tests") as house, house.client() as client:
        _, artifact_id = await made(house, "chart.png", "image/png", PNG)
        refused = await client.get(f"/api/v1/artifacts/{artifact_id}", headers={"Authorization": "Bearer no"})
        assert refused.status_code == 401
