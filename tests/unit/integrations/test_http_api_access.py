"""Who is let in, what every error looks like, and how much is read."""

from __future__ import annotations

import io
import json
from pathlib import Path

import httpx2
import pytest

from callboard.errors import ForbiddenError
from callboard.integrations.http_api.access import Principal, is_loopback
from callboard.logs import LogSettings, configure, read_log
from tests.support.api_house import ApiHouse, api_house

pytestmark = pytest.mark.slow

API = "/api/v1/agents"
INVOKE = "/api/v1/agents/invoke"


def is_error(answer: httpx2.Response) -> bool:
    body = answer.json()["error"]
    return {"code", "message", "trace_id"} <= body.keys() and len(body["trace_id"]) == 32


async def test_with_a_token_only_its_holder_is_let_in(tmp_path: Path) -> None:
    async with api_house(tmp_path, token="s3cret-token") as house, house.client() as client:
        assert (await client.get(API)).status_code == 200
        for wrong in (
            "",
            "Bearer",
            "Bearer nope",
            "Basic s3cret-token",
            "s3cret-token",
            "Bearer s3cret-tokenn",
            "Bearer \xfc",
        ):
            answer = await client.get(API, headers=[(b"authorization", wrong.encode("latin-1"))])
            assert answer.status_code == 401, wrong
            assert answer.headers["www-authenticate"] == "Bearer"
            assert is_error(answer)
        assert (await client.get("/api/v1/nothing", headers={"authorization": "x"})).status_code == 401
        assert (await client.get("/health", headers={"authorization": "x"})).status_code == 200
        assert (await client.get("/metrics", headers={"authorization": "x"})).status_code == 200
        proxied = await client.get(API, headers={"x-forwarded-for": "1.2.3.4", "host": "api.example"})
        assert proxied.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "localhost.evil.example"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "127.0.0.1@evil.example"},
        {"host": ""},
        {"host": "[::1"},
        {"forwarded": "for=1.2.3.4"},
        {"x-forwarded-for": "1.2.3.4"},
        {"x-forwarded-host": "127.0.0.1"},
        {"x-real-ip": "127.0.0.1"},
    ],
)
async def test_without_a_token_only_this_machine_is_let_in(tmp_path: Path, headers: dict[str, str]) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        answer = await client.get(API, headers=headers)
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "local_only"


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("LOCALHOST:80", True), ("127.9.9.9:1", True), ("[::1]:8080", True), ("10.0.0.1", False)],
)
def test_which_hosts_are_this_machine(host: str, local: bool) -> None:
    assert is_loopback(host) is local


async def test_without_a_token_a_page_of_another_site_cannot_write(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        body = json.dumps({"agent": "echo", "input": "x"})
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            answer = await client.post(INVOKE, content=body, headers={"content-type": kind})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "json_only")
        bare = await client.post("/api/v1/agents/echo/pause", headers={"origin": "http://evil.example"})
        assert bare.status_code == 403
        assert (await client.post("/api/v1/agents/echo/pause")).status_code == 200
        preflight = await client.options(INVOKE, headers={"origin": "http://evil.example"})
        assert "access-control-allow-origin" not in preflight.headers


async def test_every_route_asks_whether_the_caller_may(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def nobody(principal: Principal, action: str, target: str) -> None:
        asked.append((action, target))
        raise ForbiddenError(f"{principal.id} may not {action}")

    body = {"agent": "echo", "input": "x", "answer": "x", "source": "x", "server": "files", "tool": "read"}
    body |= {"from_step": "x", "key": "x", "value": "x"}
    fields = {
        "/mcp/tools/approve": ("agent", "server", "tool"),
        "/invoke": ("agent", "input"),
        "/approve": ("answer",),
        "/answer": ("answer",),
        "/validate": ("source",),
        "/rerun": ("from_step",),
        "/memory/set": ("key", "value"),
    }
    async with api_house(tmp_path, allow=nobody) as house, house.client() as client:
        for path, methods in house.api.fastapi.openapi()["paths"].items():
            names = next((names for part, names in fields.items() if part in path), ())
            for method in methods:
                wanted = path.replace("{agent}", "echo").replace("{name}", "echo")
                for name in ("task_id", "run_id", "trace_id", "clarification_id", "letter_id", "artifact_id"):
                    wanted = wanted.replace(f"{{{name}}}", "f" * 32)
                sent = {name: body[name] for name in names} if method == "post" else None
                answer = await client.request(method.upper(), wanted, json=sent)
                assert answer.status_code == 403, (method, path, answer.text)
    assert len({action for action, _ in asked}) > 20


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api", "/nothing", "/docs", "/redoc", "/openapi.json"])
async def test_what_does_not_exist_is_an_error_in_the_same_shape(tmp_path: Path, path: str) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        answer = await client.get(path)
        assert answer.status_code == 404
        assert is_error(answer)


async def test_a_method_that_is_not_possible_says_which_are(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        answer = await client.delete("/api/v1/runs")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET"
        assert is_error(answer)


async def test_a_body_over_a_mebibyte_is_not_read(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        answer = await client.post(INVOKE, json={"agent": "echo", "input": "x" * (1024 * 1024)})
        assert answer.status_code == 413
        assert is_error(answer)


async def test_a_traceparent_that_breaks_the_rules_is_replaced(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        for bad in ('a","level":"x', "00-" + "0" * 32 + "-b7ad6b7169203331-01", "x" * 5000):
            accepted = await client.post(INVOKE, json={"agent": "echo", "input": "x"}, headers={"traceparent": bad})
            trace_id = accepted.json()["trace_id"]
            assert len(trace_id) == 32
            assert trace_id not in bad


async def test_a_defect_is_answered_without_a_stack_trace_and_logged_with_one(tmp_path: Path) -> None:
    async with api_house(tmp_path) as house, house.client() as client:
        _break(house)
        with configure(LogSettings(folder=tmp_path / "logs"), stream=io.StringIO()) as pipeline:
            answer = await client.get(API)
            pipeline.flush()
        assert answer.status_code == 500
        assert is_error(answer)
        assert "Traceback" not in answer.text
        assert "house on fire" not in answer.text
        line = next(iter(read_log(tmp_path / "logs", answer.json()["error"]["trace_id"])))
        assert "house on fire" in line["exception"]


def _break(house: ApiHouse) -> None:
    """A registry with a defect."""

    class Burning:
        async def list(self) -> list[object]:
            raise RuntimeError("house on fire")

    object.__setattr__(house.services, "registry", Burning())
