"""The pods of the manifests, run by Docker: the image works as that user, on those volumes, with that environment."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.deploy.kustomize import Manifest
from tests.deploy.manifests import container, environment, of_kind, pod, roles
from tests.support.servers.fresh_postgres import empty_postgres
from tests.support.servers.fresh_redis import fresh_redis
from tests.support.servers.fresh_vhost import fresh_vhost
from tests.support.servers.ports import free_port
from tests.support.waiting import wait_until

IMAGE = "callboard"
ROLES = ("state-manager", "config-service", "api", "celery-worker")
"""Who migrates, who reads a ConfigMap, who can be asked, and who starts processes of its own."""
TOKEN = "a-token-for-a-trial"


def _is_here() -> bool:
    docker = shutil.which("docker")
    return docker is not None and _docker("image", "inspect", IMAGE, check=False).returncode == 0


def _docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=check, timeout=60)


class ConfigMapVolume:
    """A ConfigMap as the kubelet shows it: links through `..data`, which is exchanged as a whole."""

    def __init__(self, folder: Path, data: dict[str, str]) -> None:
        folder.mkdir()
        self.folder = folder
        self._count = 0
        self.put(data)
        for name in data:
            (folder / name).symlink_to(f"..data/{name}")

    def put(self, data: dict[str, str]) -> None:
        self._count += 1
        version = self.folder / f"..version_{self._count}"
        version.mkdir()
        for name, text in data.items():
            (version / name).write_text(text)
        link = self.folder / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self.folder / "..data")


class Pod:
    """One container as its Deployment describes it; beside that, free ports of this machine."""

    def __init__(self, manifest: Manifest, secrets: dict[str, str], agents: Path) -> None:
        inside = container(manifest)
        self.ports = {port["name"]: free_port() for port in inside["ports"]}
        self._probes = {kind: inside[f"{kind}Probe"]["httpGet"] for kind in ("liveness", "readiness")}
        user = pod(manifest)["securityContext"]
        options = [
            *("--network", "host", "--user", f"{user['runAsUser']}:{user['runAsGroup']}", "--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges", "--read-only"),
        ]
        for mount in inside["volumeMounts"]:
            if mount["name"] == "agents":
                options += ["--volume", f"{agents}:{mount['mountPath']}:ro"]
            else:
                options += ["--tmpfs", f"{mount['mountPath']}:mode=0770,gid={user['fsGroup']}"]
        for name, value in self._environment(manifest, secrets).items():
            options += ["--env", f"{name}={value}"]
        self.id = _docker("run", "--detach", *options, IMAGE, *inside["args"]).stdout.strip()

    def _environment(self, manifest: Manifest, secrets: dict[str, str]) -> dict[str, str]:
        given = environment(manifest)
        references = {name: each["valueFrom"]["secretKeyRef"] for name, each in given.items() if "valueFrom" in each}
        return {
            **{name: each["value"] for name, each in given.items() if "value" in each},
            **{name: secrets[each["key"]] for name, each in references.items() if each["key"] in secrets},
            "CALLBOARD_HOST": "127.0.0.1",
            "CALLBOARD_HEALTH_PORT": str(self.ports["health"]),
            "CALLBOARD_PORT": str(self.ports.get("http", 0)),
        }

    async def probe(self, kind: str) -> int:
        """The status that the kubelet would see, 0 where nobody answers."""
        asked = self._probes[kind]
        with contextlib.suppress(httpx2.TransportError):
            async with httpx2.AsyncClient(trust_env=False, timeout=5.0) as client:
                return (await client.get(f"http://127.0.0.1:{self.ports[asked['port']]}{asked['path']}")).status_code
        return 0

    @property
    def log(self) -> str:
        told = _docker("logs", self.id, check=False)
        return told.stdout[-3000:] + told.stderr[-1000:]


@pytest.fixture
def pods() -> Iterator[dict[str, Pod]]:
    if not _is_here():
        pytest.skip("needs Docker and: docker build --file Dockerfile.base --tag callboard .")
    running: dict[str, Pod] = {}
    yield running
    if running:
        _docker("rm", "--force", *(each.id for each in running.values()))


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.timeout(150)
async def test_pods_get_ready_and_follow_a_change_of_their_config_map(tmp_path: Path, pods: dict[str, Pod]) -> None:
    (agents,) = (each["data"] for each in of_kind("production", "ConfigMap") if "echo.yaml" in each["data"])
    volume = ConfigMapVolume(tmp_path / "agents", agents)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    async with empty_postgres() as postgres, fresh_vhost() as rabbitmq, fresh_redis() as redis:
        secrets = {"DATABASE_URL": postgres, "RABBITMQ_URL": rabbitmq, "REDIS_URL": redis, "CALLBOARD_API_TOKEN": TOKEN}
        for role in ROLES:
            pods[role] = Pod(roles("production")[role], secrets, volume.folder)
        for role, each in pods.items():
            for kind in ("liveness", "readiness"):

                async def well(each: Pod = each, kind: str = kind) -> bool:
                    return await each.probe(kind) == 200

                try:
                    await wait_until(well, f"the {kind} of {role}", within=60.0)
                except AssertionError as error:
                    raise AssertionError(f"{error}\n{each.log}") from error

        async with _api(pods["api"]) as api:

            async def version() -> Any:
                found = await api.get("/api/v1/agents/echo")
                return found.json()["version"] if found.is_success else None

            assert await wait_until(version, "the agent of the ConfigMap is there") == 1
            volume.put({**agents, "echo.yaml": agents["echo.yaml"].replace("description: ", "description: Truly ")})

            async def changed() -> bool:
                return bool(await version() == 2)

            await wait_until(changed, "the change of the ConfigMap is in force")
        _docker("stop", *(each.id for each in pods.values()))
        states = _docker("inspect", "--format", "{{.State.ExitCode}}", *(each.id for each in pods.values()))
        assert set(states.stdout.split()) == {"0"}


def _api(api: Pod) -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{api.ports['http']}", headers=headers, trust_env=False, timeout=10.0
    )
