"""The OpenAPI document is what it was, and no input that it allows or forbids gets a 5xx or another error shape."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.api_house import ApiHouse, api_house

pytestmark = pytest.mark.slow

SNAPSHOT = Path(__file__).with_name("openapi.json")
DEEP = b"[" * 10_000 + b"]" * 10_000
BAD_IDS = (
    "x",
    "0",
    "-1",
    "%00",
    "%0a",
    "..%2f..%2fetc",
    "%F0%9F%92%A3",
    "%ff%fe",
    "'%20OR%201=1--",
    "f" * 32,
    "F" * 32,
    "a" * 3000,
    "%e2%80%ae",
    "{run_id}",
)
BAD_BODIES: tuple[bytes, ...] = (
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"{}",
    b"{",
    b"\xff\xfe",
    b"NaN",
    b'{"agent": NaN, "input": Infinity}',
    b'{"agent": "echo", "input": {"x": NaN}}',
    b'{"agent": "echo", "input": "a\\u0000b"}',
    b'{"agent": "echo", "input": {"a\\u0000b": 1}}',
    b'{"agent": "echo", "input": "\\ud800"}',
    b'{"agent": "echo", "input": 7}',
    b'{"agent": "echo", "input": "x", "surprise": 1}',
    b'{"agent": "echo", "input": "x", "priority": "urgent"}',
    b'{"agent": "echo", "input": "x", "conversation_id": ""}',
    b'{"agent": "echo", "input": "x", "idempotency_key": "' + b"k" * 5000 + b'"}',
    b'{"agent": "echo", "input": {"n": 1e400}}',
    b'{"agent": "echo", "input": {"n": ' + b"9" * 5000 + b"}}",
    b'{"agent": "echo", "input": {"deep": ' + b"[" * 500 + b"]" * 500 + b"}}",
    b'{"agent": ["echo"], "input": {}}',
    b'{"answer": {"a": {}}, "clarification_id": "zzz"}',
    b'{"answer": null}',
    b'{"version": 0}',
    b'{"version": 99999999999999999999}',
    b'{"version": "1"}',
    b'{"schedule": ".."}',
    b'{"schedule": "a\\u0000"}',
    b'{"source": "\\u0001: &a [*a, *a]"}',
    b'{"source": "' + b"- " * 3000 + b'"}',
    DEEP,
    b'{"agent": "echo", "input": ' + DEEP + b"}",
)
BAD_VALUES = (
    "",
    "x",
    "-1",
    "99999999999999999999",
    "%00",
    "1e9",
    "NaN",
    "a" * 3000,
    "%F0%9F%92%A3",
    "2026-01-01",
    "[]",
)


def document(house: ApiHouse) -> dict[str, Any]:
    return house.api.fastapi.openapi()


async def test_the_openapi_document_is_what_it_was(tmp_path: Path) -> None:
    """Run with UPDATE_SNAPSHOTS=1 to accept a change, and look at the difference."""
    async with api_house(tmp_path) as house, house.client() as client:
        served = (await client.get("/api/v1/openapi.json")).json()
        assert served == json.loads(json.dumps(document(house)))
        served["info"]["version"] = "0"
        text = json.dumps(served, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert SNAPSHOT.read_text(encoding="utf-8") == text


async def test_bad_ids_are_answered_in_the_error_shape(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        for method, path, operation in operations(document(house)):
            if "{" not in path:
                continue
            body = b'{"answer": "x"}' if operation.get("requestBody") else b""
            for bad in BAD_IDS:
                await check(client, method, filled(path, bad), operation, content=body)


@pytest.mark.timeout(120)
async def test_bad_bodies_are_answered_in_the_error_shape(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        for method, path, operation in operations(document(house)):
            if method == "post":
                for body in BAD_BODIES:
                    await check(client, method, filled(path, "echo"), operation, content=body)


async def test_bad_parameters_are_answered_in_the_error_shape(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        for method, path, operation in operations(document(house)):
            for parameter in operation.get("parameters", ()):
                for value in BAD_VALUES if parameter["in"] == "query" else ():
                    await check(client, method, f"{filled(path, 'echo')}?{parameter['name']}={value}", operation)


async def test_bad_headers_are_answered_in_the_error_shape(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        for name in ("last-event-id", "traceparent", "content-type", "accept", "cookie", "content-length"):
            for value in (b"\xff", b"x" * 9000, b"", b"-1", b"1, 2", b"application/json; charset=\xe2"):
                answer = await client.get(f"/api/v1/runs/{'f' * 32}/events", headers=[(name.encode(), value)])
                assert answer.status_code < 500, (name, value)
                assert "error" in answer.json()


async def check(
    client: httpx2.AsyncClient, method: str, path: str, operation: dict[str, Any], content: bytes = b""
) -> None:
    """No 5xx, no status that the document does not name, the error shape on every error."""
    what = f"{method} {path[:120]} {content[:60]!r}"
    headers = {"content-type": "application/json"}
    answer = await client.request(method.upper(), path, content=content, headers=headers)
    assert answer.status_code < 500, f"{what}: {answer.status_code} {answer.text[:300]}"
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert error["code"], what
        assert error["message"], what
        assert len(error["trace_id"]) == 32, what
    # A bad id can make another path of it, which has no such method.
    if answer.status_code not in (404, 405):
        assert str(answer.status_code) in operation["responses"], f"{what}: {answer.status_code} is not documented"


def operations(openapi: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def filled(path: str, value: str) -> str:
    parts = [value if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)
