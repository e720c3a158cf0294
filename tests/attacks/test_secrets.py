"""H6: every secret is a word that occurs nowhere else; whoever is told one says it back; then everything that was
written is searched for it."""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from callboard.integrations.slack_local import LocalSlack
from tests.support.embedded_process import EmbeddedProcess, Premises, invoke, result
from tests.support.mcp_web import mcp_web
from tests.support.mcp_world import listed, script_at
from tests.unit.agents.tools.local_mail import local_mail

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CANARIES = {
    "SLACK_SIGNING_SECRET": "canary+Signing/Secret=0a1",
    "SLACK_BOT_TOKEN": "xoxb-canary-Bot+Token/0b2",
    "OPENAI_API_KEY": "sk-canary-OpenAI+Key/0c3",
    "ANTHROPIC_API_KEY": "sk-ant-canary-Key/0d4",
    "AWS_SECRET_ACCESS_KEY": "canary+Aws/SecretAccess0e5",
    "AWS_SESSION_TOKEN": "canary+Aws/Session0f6",
    "CALLBOARD_API_TOKEN": "canary-Api-Token-0a7",
    "DESK_HEADER": "canary+Mcp/Header=0b8",
    "FILES_WORD": "canary+Mcp/Environment=0c9",
    "PAGE_WORD": "canary+Page/Header=0d0",
    "SEARCH_WORD": "canary+Search/Key=0e1",
    "MAIL": "canary-Mail-Word-0f2",
    "DSN": "canary-Dsn-Word-0a3",
}
AGENT = """
name: {name}
agent_type: worker
execution_mode: autonomous
llm_config: {model}
limits: {{max_attempts: 1}}
tools:
  - {{name: http_get, with: {{allow: ["127.0.0.1"], headers: {{X-Word: "${{env:PAGE_WORD}}"}}}}}}
  - name: http_post
    with: {{allow: ["127.0.0.1"], headers: {{X-Word: "${{env:PAGE_WORD}}"}}}}
    after_untrusted: auto
  - {{name: web_search, with: {{engine: tavily, url: "{echo}/search", api_key: "${{env:SEARCH_WORD}}"}}}}
  - {{name: send_email, with: {{allow: ["@example.com"]}}, after_untrusted: auto}}
  - {{name: sql_query, with: {{database: "postgresql://reader:${{env:DSN}}@127.0.0.1:1/x"}}}}
  - run_python
  - {{mcp: {{name: desk, url: "{desk}", headers: {{X-Desk: "${{env:DESK_HEADER}}"}}}}, after_untrusted: auto}}
  - {{mcp: {{name: files, command: {command}, env: {{WORD: "${{env:FILES_WORD}}"}}}}, after_untrusted: auto}}
"""
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "page": ("http_get", {"url": "ECHO/page"}),
    "broken": ("http_get", {"url": "ECHO/broken"}),
    "post": ("http_post", {"url": "ECHO/page", "body": "hello"}),
    "search": ("web_search", {"query": "word"}),
    "mail": ("send_email", {"to": ["a@example.com"], "subject": "s", "body": "b"}),
    "rows": ("sql_query", {"sql": "select 1"}),
    "code": ("run_python", {"code": "import os\nstr(dict(os.environ))"}),
    "desk": ("desk__say", {}),
    "files": ("files__environment", {}),
    "dies": ("files__die", {}),
}


async def _echo(request: web.Request) -> web.Response:
    """Says back all that it was told, as an error where it is asked for models or something broken."""
    told = {"error": {"message": json.dumps(dict(request.headers)), "type": "authentication_error"}}
    failed = "page" not in request.path and "search" not in request.path
    if "search" in request.path:
        result = {
            "title": str(dict(request.headers)),
            "url": "https://x.example/",
            "content": request.headers["Authorization"],
        }
        return web.json_response({"results": [result]})
    return web.json_response(told, status=401 if failed else 200)


@pytest.fixture
async def echo() -> Any:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", _echo)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_H6_no_secret_is_written_anywhere(tmp_path: Path, echo: str) -> None:
    seen: dict[str, str] = {}
    password = CANARIES["MAIL"]
    told = base64.b64encode(f"\0board\0{password}".encode()).decode()
    async with contextlib.AsyncExitStack() as stack:
        slack = await stack.enter_async_context(LocalSlack())
        mail = await stack.enter_async_context(local_mail())
        mail.replies["MAIL"] = f"550 you said {password}, that is {told}"
        desk = await stack.enter_async_context(mcp_web(listed("say")))
        desk.says = lambda _: f"you said {desk.requests[-1]}"
        files = script_at(tmp_path / "files", listed("environment"), listed("die"))
        premises = _premises(tmp_path, echo, slack, mail.port, desk.authority)
        _write_agents(premises, echo, desk.url, files.command)
        async with premises.running() as process:
            await _work(process, seen)
            await _look_around(process, seen)
            async with process.client(**_bearer()) as client:
                await invoke(client, "worker", "files")
            process.kill()
        async with premises.running() as process:
            await _look_around(process, seen)
        doctor = premises.command("doctor")
        seen["doctor"] = doctor.stdout + doctor.stderr
        seen["slack"] = str([message.text for message in slack.messages])
        seen["mcp"] = "\n".join(desk.heard)
    seen |= {str(path): path.read_bytes().decode("latin-1") for path in _files(premises)}
    hits = [
        f"{name} in {where}" for name, value in CANARIES.items() for where, text in seen.items() if _holds(text, value)
    ]
    assert not hits, "\n".join(hits)
    # What was said back has arrived, or nothing was tried.
    assert "[redacted]" in seen["outputs"]


def _premises(folder: Path, echo: str, slack: LocalSlack, mail: int, desk: str) -> Premises:
    secrets = {name: value for name, value in CANARIES.items() if name != "MAIL"}
    return Premises(
        folder / "premises",
        {
            **secrets,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_REGION": "eu-central-1",
            "OPENAI_BASE_URL": f"{echo}/v1",
            "ANTHROPIC_BASE_URL": echo,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": echo,
            "CALLBOARD_SMTP_URL": f"smtp://board:{CANARIES['MAIL']}@127.0.0.1:{mail}",
            "CALLBOARD_SMTP_FROM": "board@example.com",
            "CALLBOARD_LOG_LEVEL": "DEBUG",
            "CALLBOARD_HTTP_ALLOW": f"{echo.removeprefix('http://')},{desk.removeprefix('http://')}",
            "CALLBOARD_MCP_COMMANDS": sys.executable,
            "SLACK_API_URL": slack.api_url,
        },
    )


def _write_agents(premises: Premises, echo: str, desk: str, command: tuple[str, ...]) -> None:
    script = [
        {"when": f"^{word}$", "call": {"tool": tool, "args": json.loads(json.dumps(args).replace("ECHO", echo))}}
        for word, (tool, args) in CALLS.items()
    ]
    models = {
        "worker": {"provider": "scripted", "model_id": "script", "script": [*script, {"error": "crash"}]},
        "openai": {"provider": "openai", "model_id": "gpt-4o"},
        "anthropic": {"provider": "anthropic", "model_id": "claude-sonnet-4-5"},
        "bedrock": {"provider": "bedrock", "model_id": "anthropic.claude-3-haiku-20240307-v1:0"},
    }
    for name, model in models.items():
        text = AGENT.format(name=name, model=json.dumps(model), echo=echo, desk=desk, command=json.dumps(command))
        premises.add_agents(**{name: text})


def _bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {CANARIES['CALLBOARD_API_TOKEN']}"}


async def _work(process: EmbeddedProcess, seen: dict[str, str]) -> None:
    outputs = []
    async with process.client(**_bearer()) as client:
        tasks = [await invoke(client, "worker", word) for word in CALLS if word != "dies"]
        tasks += [await invoke(client, "worker", "crash")]
        tasks += [await invoke(client, agent, "hello") for agent in ("openai", "anthropic", "bedrock")]
        await invoke(client, "worker", "dies")
        outputs += [await result(client, task, within=60.0) for task in tasks]
        seen["ps"] = _processes()
    seen["outputs"] = json.dumps(outputs)
    assert [each["status"] for each in outputs[: len(CALLS) - 1]] == ["succeeded"] * (len(CALLS) - 1), outputs


async def _look_around(process: EmbeddedProcess, seen: dict[str, str]) -> None:
    async with process.client(**_bearer()) as client:
        runs = (await client.get("/api/v1/runs")).json()["runs"]
        paths = ["/metrics", "/health", "/api/v1/agents", "/api/v1/runs", "/api/v1/clarifications", "/api/v1/status"]
        paths += ["/api/v1/mcp/tools", "/api/v1/costs", "/api/v1/schedules", "/api/v1/deadletters"]
        paths += [f"/api/v1/agents/{name}" for name in ("worker", "openai", "anthropic", "bedrock")]
        paths += [f"/api/v1/traces/{run['trace_id']}" for run in runs]
        for path in paths:
            answer = await client.get(path)
            seen[f"{path} {process.pid}"] = answer.text
    async with process.client(Authorization="Bearer wrong") as client:
        seen[f"refused {process.pid}"] = (await client.get("/api/v1/runs")).text


def _files(premises: Premises) -> Iterator[Path]:
    with contextlib.closing(sqlite3.connect(premises.database)) as connection:
        dump = premises.root / "dump.sql"
        dump.write_text("\n".join(connection.iterdump()))
    yield from (path for path in premises.root.rglob("*") if path.is_file() and path.parent != premises.agents)


def _processes() -> str:
    """How every process of this machine was called."""
    return "\n".join(_read(path) for path in Path("/proc").glob("[0-9]*/cmdline"))


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    return ""


def _holds(text: str, secret: str) -> bool:
    raw = secret.encode()
    forms = {secret, quote(secret), quote(secret, safe=""), raw.hex(), json.dumps(secret)[1:-1], secret[::-1]}
    for shift in range(3):
        # Without the ends, which depend on what stands beside it.
        forms.add(base64.b64encode(bytes(shift) + raw).decode().rstrip("=")[4:-2])
    return any(form in text or form.replace("+", "-").replace("/", "_") in text for form in forms)
