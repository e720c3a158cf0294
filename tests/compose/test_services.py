"""docker-compose up, after nothing but `git clone` and `cp .env.example .env`."""

from __future__ import annotations

import re
import subprocess
from typing import IO

import httpx2
import pytest

from callboard.cli.serve import ROLES
from tests.support.compose.engine import docker
from tests.support.compose.stack import Stack

pytestmark = [pytest.mark.compose, pytest.mark.slow, pytest.mark.timeout(700)]
SERVERS = ("postgres", "redis", "rabbitmq")


def test_every_service_is_healthy(stack: Stack) -> None:
    found = {service: [stack.health(each) for each in stack.containers(service)] for service in (*SERVERS, *ROLES)}
    assert {service: health for service, health in found.items() if health != ["healthy"]} == {}


def test_what_is_published_answers_and_nothing_else_is_published(stack: Stack) -> None:
    for service in ("gateway", "api"):
        answer = httpx2.get(f"{stack.url(service)}/health", trust_env=False)
        assert (answer.status_code, answer.json()["status"]) == (200, "healthy")
    page = httpx2.get(f"{stack.url('rabbitmq')}/api/overview", auth=("callboard", "callboard"), trust_env=False)
    assert page.json()["rabbitmq_version"]
    ports = {
        service: [port for container in stack.containers(service) for port in _published(stack, container)]
        for service in (*SERVERS, *ROLES)
    }
    assert {service: inside for service, inside in ports.items() if inside} == {
        "slack-gateway": ["8080/tcp"],
        "api": ["8000/tcp"],
        "rabbitmq": ["15672/tcp"],
    }


def test_the_servers_are_the_ones_that_were_named(stack: Stack) -> None:
    (postgres,), (redis,) = stack.containers("postgres"), stack.containers("redis")
    assert "PostgreSQL) 15." in docker("exec", postgres, "postgres", "--version")
    assert re.search(r"v=7\.", docker("exec", redis, "redis-server", "--version"))
    assert docker("exec", redis, "redis-cli", "config", "get", "appendonly").split() == ["appendonly", "yes"]


def test_logs_and_data_of_a_fresh_clone_are_written_to(stack: Stack) -> None:
    written = {path.name.partition(".")[0] for path in (stack.folder / "logs").glob("*.log")}
    assert set(ROLES) <= written
    (config_service,) = stack.containers("config-service")
    docker("exec", config_service, "sh", "-c", "mkdir -p data/agents && touch data/agents/.tried logs/.tried")
    assert (stack.folder / "data/agents/.tried").exists()


def test_H14_roles_run_without_root_on_a_read_only_file_system(stack: Stack) -> None:
    for service in ROLES:
        for container in stack.containers(service):
            assert docker("exec", container, "id", "--user").strip() == "10001", service
            host = stack.inspect(container)["HostConfig"]
            assert host["ReadonlyRootfs"], service
            assert host["CapDrop"] == ["ALL"], service
            assert host["Memory"] > 0, service
    (config_service,) = stack.containers("config-service")
    with pytest.raises(AssertionError, match="Read-only file system"):
        docker("exec", config_service, "touch", "config/agents/mine.yaml")
    with pytest.raises(AssertionError, match="Read-only file system"):
        docker("exec", config_service, "touch", "/app/mine")


def test_H14_no_secret_is_in_the_image(stack: Stack) -> None:
    secrets = list(stack.secrets.values())
    shown = docker("history", "--no-trunc", stack.image) + docker("inspect", stack.image)
    assert [secret for secret in secrets if secret in shown] == []
    # Layer by layer, not only what the topmost leaves to be seen.
    packed = subprocess.Popen(["docker", "save", stack.image], stdout=subprocess.PIPE)
    assert packed.stdout is not None
    with packed.stdout as layers:
        found = _occurrences(layers, [secret.encode() for secret in secrets])
    assert packed.wait(60) == 0
    assert found == set()
    search = "find / -xdev -name '.env*' 2>/dev/null; ls -A config data logs"
    seen = docker("run", "--rm", "--user", "0", "--entrypoint", "sh", stack.image, "-c", search).split()
    assert seen == ["config:", "data:", "logs:"]


def test_H14_each_service_is_given_the_secrets_that_it_reads(stack: Stack) -> None:
    readers = {
        "SLACK_SIGNING_SECRET": ["slack-gateway"],
        "SLACK_BOT_TOKEN": ["slack-gateway"],
        "CALLBOARD_API_TOKEN": ["api"],
        "OPENAI_API_KEY": ["autonomous-agent-pool", "collaborative-agent-pool", "continuous-agent-runner"],
    }
    found: dict[str, list[str]] = {name: [] for name in readers}
    for service in sorted({*SERVERS, *ROLES}):
        environment = str(stack.inspect(stack.containers(service)[0])["Config"]["Env"])
        for name in readers:
            if stack.secrets[name] in environment:
                found[name].append(service)
    assert found == readers


def _published(stack: Stack, container: str) -> list[str]:
    ports = stack.inspect(container)["NetworkSettings"]["Ports"]
    return [inside for inside, outside in ports.items() if outside]


def _occurrences(stream: IO[bytes], wanted: list[bytes]) -> set[bytes]:
    """Which of them are in a stream; a piece is looked at with the end of the one before."""
    overlap = max(map(len, wanted))
    found: set[bytes] = set()
    before = b""
    while piece := stream.read(1 << 22):
        text = before + piece
        found |= {each for each in wanted if each in text}
        before = text[-overlap:]
    return found
