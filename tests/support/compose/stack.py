"""The services of docker-compose.yml, running."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from tests.support.compose.clone import clone
from tests.support.compose.engine import compose_command, docker, run
from tests.support.servers.ports import free_port
from tests.support.waiting import wait_until_sync

BUILD_SECONDS = 500.0
UP_SECONDS = 280.0


class Stack:
    """One project of Compose with an image, ports and volumes of its own, over a clone of the repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = f"callboard-test-{secrets.token_hex(4)}"
        self.image = f"{self.project}-image"
        self.ports = {name: free_port() for name in ("gateway", "api", "rabbitmq")}
        self.slack_port = free_port()
        self.slack_host = host_as_containers_see_it()
        self.secrets = {
            name: f"canary-{secrets.token_hex(12)}"
            for name in ("SLACK_SIGNING_SECRET", "SLACK_BOT_TOKEN", "CALLBOARD_API_TOKEN", "OPENAI_API_KEY")
        }
        clone(
            folder,
            ports=self.ports,
            env={
                **self.secrets,
                "CALLBOARD_IMAGE": self.image,
                "SLACK_API_URL": f"http://{self.slack_host}:{self.slack_port}/api/",
                # A killed container's runs go to others after 5 s, not after 20.
                "CALLBOARD_LEASE_BEAT_SECONDS": "1",
                "CALLBOARD_LEASE_DEAD_SECONDS": "5",
            },
        )

    def url(self, service: str) -> str:
        """Where a published port is: gateway, api or rabbitmq (its page)."""
        return f"http://127.0.0.1:{self.ports[service]}"

    def build(self) -> None:
        """The image, with the package index that this machine is set up for."""
        found = {name: os.environ.get(name) or _of_pip(name) for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")}
        arguments = [part for name, value in found.items() if value for part in ("--build-arg", f"{name}={value}")]
        file = str(self.folder / "Dockerfile.base")
        build = ["build", "--network", "host", "--file", file, "--tag", self.image, *arguments]
        docker(*build, str(self.folder), within=BUILD_SECONDS)

    def compose(self, *arguments: str, within: float = UP_SECONDS) -> str:
        """What a compose command in the clone prints."""
        return run([*compose_command(), "--project-name", self.project, *arguments], within=within, cwd=self.folder)

    def up(self, *arguments: str) -> None:
        """`docker-compose up`, in the background, until every container says it is healthy."""
        self.compose("up", "-d", *arguments)
        wait_until_sync(lambda: not self.unhealthy(), "every service is healthy", within=90)

    def down(self) -> None:
        """Everything away: containers, volumes, network, image."""
        self.compose("down", "--volumes", "--timeout", "5", within=120)
        docker("image", "rm", "--force", self.image)
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self, service: str) -> None:
        """kill -9 of a service's container, which is then started again."""
        (container,) = self.containers(service)
        docker("kill", "--signal", "KILL", container)
        docker("start", container)

    def services(self) -> list[str]:
        return self.compose("config", "--services").split()

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers that run."""
        return self._containers("--filter", f"label=com.docker.compose.service={service}")

    def inspect(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(docker("inspect", container))[0]
        return found

    def health(self, container: str) -> str:
        """healthy, unhealthy, starting; the container's state when it has no health check."""
        state = self.inspect(container)["State"]
        return str(state.get("Health", {}).get("Status") or state["Status"])

    def unhealthy(self) -> list[str]:
        """The running containers that are not (yet) healthy, by name."""
        ids = self._containers()
        found = [self.inspect(container) for container in ids]
        return [each["Name"] for each in found if each["State"].get("Health", {}).get("Status") != "healthy"]

    def complaints(self) -> str:
        """The state of each container, and the last lines that are more than information."""
        mine = f"label=com.docker.compose.project={self.project}"
        states = docker("ps", "--all", "--filter", mine, "--format", "{{.Names}}: {{.Status}}")
        lines = self.compose("logs", "--no-color", within=60).splitlines()
        serious = [line for line in lines if re.search(r'"level":"(WARNING|ERROR|CRITICAL)"|role is up|FATAL', line)]
        return "\n".join([states, *serious[-80:]])

    def log_lines(self, text: str) -> list[tuple[str, str]]:
        """`docker-compose logs | grep TEXT`: service and line."""
        lines = self.compose("logs", "--no-color", within=60).splitlines()
        parted = [line.partition("|") for line in lines if text in line]
        # `api_1` with docker-compose, `api-1` with `docker compose`.
        return [(re.sub(r"[-_]\d+$", "", name.strip()), rest.strip()) for name, _, rest in parted]

    def _containers(self, *filters: str) -> list[str]:
        mine = f"label=com.docker.compose.project={self.project}"
        return docker("ps", "--quiet", "--no-trunc", "--filter", mine, *filters).split()


def host_as_containers_see_it() -> str:
    """The address of this machine on the engine's bridge; a name of its own where the engine runs in a machine of its
    own (Docker Desktop)."""
    (network,) = json.loads(docker("network", "inspect", "bridge"))
    config = network["IPAM"]["Config"][0]
    gateway = config.get("Gateway") or str(next(ip_network(config["Subnet"]).hosts()))
    with socket.socket() as probe:
        try:
            probe.bind((gateway, 0))
        except OSError:
            return "host.docker.internal"
    return gateway


def _of_pip(variable: str) -> str | None:
    """The same setting from pip's own files, if a container could use it."""
    key = f"global.{variable.removeprefix('PIP_').lower().replace('_', '-')}"
    asked = subprocess.run(["python3", "-m", "pip", "config", "get", key], capture_output=True, text=True, check=False)
    found = [part for part in asked.stdout.split() if part.startswith(("http://", "https://"))]
    return " ".join(found) or None
