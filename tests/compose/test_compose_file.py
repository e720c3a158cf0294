"""What docker-compose.yml promises (INTERFACE.md, section 7), read from the file: these run without Docker too."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from callboard.cli.serve import ROLES
from callboard.settings import Settings
from tests.support.compose.engine import compose_command, need_engine, run
from tests.support.processes import ROOT

SERVERS = ("postgres", "redis", "rabbitmq")
TEXT = (ROOT / "docker-compose.yml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = FILE["services"]


def test_a_service_a_role_and_the_servers() -> None:
    assert set(SERVICES) == {*SERVERS, *ROLES, "prepare"}
    for role in ROLES:
        assert SERVICES[role]["command"] == ["serve", role]
    assert [SERVICES[server]["image"] for server in SERVERS] == ["postgres:15", "redis:7", "rabbitmq:3.13-management"]


def test_nothing_but_the_gateway_is_published_to_others() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "slack-gateway": ["8080:8080"],
        "api": ["127.0.0.1:8000:8000"],
        "rabbitmq": ["127.0.0.1:15672:15672"],
    }


@pytest.mark.parametrize("name", [*SERVERS, *ROLES])
def test_every_service_is_watched_and_bounded(name: str) -> None:
    service = SERVICES[name]
    assert 10 <= int(service["healthcheck"]["interval"].removesuffix("s")) <= 30
    assert service["stop_grace_period"] == "35s"
    assert service["restart"] == "unless-stopped"
    assert service["networks"] == ["agent-network"]
    assert service["cap_drop"] == ["ALL"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])


@pytest.mark.parametrize("name", sorted(ROLES))
def test_a_role_starts_when_what_it_needs_is_healthy(name: str) -> None:
    service = SERVICES[name]
    waits = {other: each["condition"] for other, each in service["depends_on"].items()}
    assert waits.pop("prepare") == "service_completed_successfully"
    expected = {*SERVERS}
    if name != "state-manager":
        expected.add("state-manager")  # its health says that the migrations are done
        if name != "event-bus":
            expected.add("event-bus")
    assert waits == dict.fromkeys(expected, "service_healthy")
    assert "http://127.0.0.1:8081/health" in str(service["healthcheck"]["test"])
    assert service["read_only"] is True


def test_folders_and_volumes() -> None:
    for name in ROLES:
        volumes = SERVICES[name]["volumes"]
        assert "./logs:/app/logs" in volumes
        assert set(volumes) <= {
            "./logs:/app/logs",
            "./config:/app/config:ro",
            "./tools:/app/tools:ro",
            "./data:/app/data",
        }
    assert {"./config:/app/config:ro", "./data:/app/data"} <= set(SERVICES["config-service"]["volumes"])
    # Those that call the project's tools, and those that check agent files.
    with_tools = {name for name in ROLES if "./tools:/app/tools:ro" in SERVICES[name]["volumes"]}
    assert with_tools == {name for name in ROLES if "agent-" in name} - {"agent-orchestrator"} | {
        "config-service",
        "api",
    }
    assert set(FILE["volumes"]) == {"postgres-data", "redis-data", "rabbitmq-data"}
    assert set(FILE["networks"]) == {"agent-network"}
    assert " ".join(SERVICES["redis"]["command"]).count("--appendonly yes") == 1


def test_no_secret_stands_in_the_file_and_each_variable_in_the_example() -> None:
    example = dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    of_pip = {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST"}
    used = set(re.findall(r"\$\{([A-Z_]+)", TEXT))
    assert used - of_pip <= set(example)
    for name in ("POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "CALLBOARD_API_TOKEN"):
        assert re.search(rf"\$\{{{name}:\?", TEXT), f"without {name} compose has to say so"
        assert not re.search(rf"\$\{{{name}:-", TEXT)
        assert example[name], "cp .env.example .env is enough"


def test_a_variable_has_the_default_of_the_settings() -> None:
    defaults = {str(field.alias): field.default for field in Settings.model_fields.values()}
    for name, given in re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", TEXT):
        if name in defaults:
            default = defaults[name]
            assert given == (
                "" if default in (None, ()) else f"{default:g}" if default.__class__ is float else str(default)
            )


def test_H14_compose_takes_the_file() -> None:
    need_engine()
    shown = run(
        [*compose_command(), "--env-file", ".env.example", "--file", "docker-compose.yml", "config"],
        within=60,
        cwd=ROOT,
    )
    assert set(yaml.safe_load(shown)["services"]) == set(SERVICES)
