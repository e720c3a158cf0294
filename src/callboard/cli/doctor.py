"""`callboard doctor`: what is set, what is missing, what cannot be reached."""

from __future__ import annotations

import importlib
from typing import Any
from urllib.parse import urlsplit

import click
from pydantic import SecretStr

from callboard.cli.agent_files import check_files
from callboard.cli.api_client import ApiClient
from callboard.cli.output import JSON, output_option, print_json, print_table
from callboard.config.models_file import read_models
from callboard.errors import CallboardError, NotFoundError, UnavailableError
from callboard.settings import Settings, load_settings

SET, DEFAULT, MISSING = "set", "default", "not set"


@click.command()
@output_option
def doctor(output: str) -> int:
    """Show what is set (without secrets), what is missing and what cannot be reached.

    Exit code 4 when the system cannot be reached, 1 when something in it is not healthy.
    """
    settings = load_settings()
    values = _values(settings)
    checks = [_agent_files(settings), _models_file(settings), *_servers(settings)]
    system, reached = _system(settings)
    checks += system
    if output == JSON:
        print_json({"settings": values, "checks": checks})
    else:
        print_table(values, {"name": "SETTING", "status": "", "value": "VALUE"}, empty="")
        click.echo()
        print_table(checks, {"check": "CHECK", "status": "STATUS", "message": ""}, empty="")
    if not reached:
        return 4
    return 1 if any(check["status"] == "failed" for check in checks) else 0


def _values(settings: Settings) -> list[dict[str, str]]:
    """Every setting in the order of `.env.example`; a secret shows that it is there, a URL its host."""
    given = settings.model_fields_set
    return [
        _shown(field.alias or name, getattr(settings, name), SET if name in given else DEFAULT)
        for name, field in Settings.model_fields.items()
    ]


def _shown(name: str, value: Any, status: str) -> dict[str, str]:
    if value is None or value == ():
        return {"name": name, "status": MISSING, "value": ""}
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return {"name": name, "status": status, "value": _without_password(secret) if "://" in secret else "[redacted]"}
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return {"name": name, "status": status, "value": _without_password(text) if "://" in text else text}


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
        place = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "[not an address]"
    hidden = "[redacted]@" if parts.username or parts.password else ""
    return f"{parts.scheme}://{hidden}{place}{port}{parts.path}"


def _agent_files(settings: Settings) -> dict[str, str]:
    name = f"agent files in {settings.agents_folder}"
    try:
        checked = check_files([settings.agents_folder], settings.tools_folder)
    except NotFoundError as error:
        return {"check": name, "status": "failed", "message": error.message}
    broken = [each.path for each in checked if each.problems]
    if broken:
        message = f"{len(broken)} of {len(checked)} have problems: `callboard agents validate` shows them"
        return {"check": name, "status": "failed", "message": message}
    return {"check": name, "status": "done", "message": f"{len(checked)} files"}


def _models_file(settings: Settings) -> dict[str, str]:
    path = settings.models_file
    name = f"prices and budgets in {path}"
    if not path.exists():
        return {"check": name, "status": "done", "message": "no such file: nothing is limited"}
    problems = read_models(path).problems
    if problems:
        return {"check": name, "status": "failed", "message": "\n".join(str(problem) for problem in problems)}
    return {"check": name, "status": "done", "message": "can be read"}


def _servers(settings: Settings) -> list[dict[str, str]]:
    """Tried only where one is named: the embedded form needs none."""
    if not (settings.database_url or settings.rabbitmq_url or settings.redis_url):
        return []
    # Drivers of servers that most who ask do not use.
    reaching = importlib.import_module("callboard.bootstrap.reaching")
    return [
        {"check": name, "status": "done" if problem is None else "failed", "message": problem or "answers"}
        for name, problem in reaching.reach_servers(settings)
    ]


def _system(settings: Settings) -> tuple[list[dict[str, str]], bool]:
    name = f"API at {settings.api_url}"
    token = settings.api_token
    try:
        with ApiClient(settings.api_url, token.get_secret_value() if token else None, timeout_seconds=10.0) as api:
            status, tools = api.get("status"), api.get("tools")
    except UnavailableError as error:
        return [{"check": name, "status": "failed", "message": error.message}], False
    except CallboardError as error:
        return [{"check": name, "status": "failed", "message": error.message}], True
    lines = [{"check": name, "status": "done", "message": f"version {status['version']}"}]
    for part, check in status["health"]["checks"].items():
        reason = check.get("reason", f"{check['latency_ms']:g} ms")
        lines.append({"check": part, "status": _mark(check["status"]), "message": reason})
    for agent, reason in status["unavailable"].items():
        lines.append({"check": f"agent {agent}", "status": "failed", "message": reason})
    if status["rejected"]:
        message = f"{status['rejected']} refused: `callboard agents list` shows why"
        lines.append({"check": "agent files in force", "status": "failed", "message": message})
    if tools["problems"]:
        files = sorted({problem["file"] for problem in tools["problems"]})
        message = f"{', '.join(files)}: `callboard tools list` shows what is wrong"
        lines.append({"check": "tool files", "status": "failed", "message": message})
    if status["dead_letters"]:
        message = f"{status['dead_letters']} kept: `callboard deadletters list`"
        lines.append({"check": "dead letters", "status": "failed", "message": message})
    return lines, True


def _mark(status: str) -> str:
    return {"healthy": "done", "unhealthy": "failed"}.get(status, status)
