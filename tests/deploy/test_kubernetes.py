"""What the manifests say is what the program needs (INTERFACE.md, section 7)."""

from __future__ import annotations

import re
import subprocess
import tomllib
from typing import Any

import httpx2
import pytest

from callboard.cli.serve import ROLES
from callboard.clock import SystemClock
from callboard.config.agent_file import load_agent
from callboard.errors import UnavailableError
from callboard.health import HealthChecks
from callboard.integrations.role_port import health_port
from callboard.metrics import Metrics
from callboard.settings import Settings
from tests.deploy.kustomize import containers
from tests.deploy.manifests import (
    KUBERNETES,
    OVERLAYS,
    compose,
    container,
    env_file,
    environment,
    of_kind,
    pod,
    rendered,
    roles,
    secrets_of,
)
from tests.support.processes import ROOT

PUBLIC_PORTS = {"slack-gateway": 8080, "api": 8000}
POOLS = {
    "collaborative-agent-pool": "collaborative",
    "autonomous-agent-pool": "autonomous",
    "continuous-agent-runner": "continuous",
}
SERVERS = {"DATABASE_URL", "RABBITMQ_URL", "REDIS_URL"}
AGENTS = {
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "CALLBOARD_SMTP_URL",
}
SECRETS = {
    "slack-gateway": {"SLACK_SIGNING_SECRET", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"},
    "api": {"CALLBOARD_API_TOKEN"},
    **dict.fromkeys(POOLS, AGENTS),
}
"""Beside the addresses of the servers: what each role alone may know."""
SETTINGS = {field.alias: field for field in Settings.model_fields.values()}
SECRET_SETTINGS = {name for name, field in SETTINGS.items() if "SecretStr" in str(field.annotation)}

overlays = pytest.mark.parametrize("overlay", OVERLAYS)


@overlays
def test_every_role_is_a_deployment_that_serves_it(overlay: str) -> None:
    assert {name: container(each)["args"] for name, each in roles(overlay).items()} == {
        role: ["serve", role] for role in ROLES
    }


@overlays
def test_no_image_floats(overlay: str) -> None:
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {each["image"] for manifest in rendered(overlay) for each in containers(manifest)}
    assert {image for image in images if re.search(r":\d+[\w.-]*$", image) is None} == set()
    assert {container(each)["image"].rpartition(":")[2] for each in roles(overlay).values()} == {ours}


@overlays
def test_no_process_is_killed_because_a_server_is_away(overlay: str) -> None:
    for name, each in roles(overlay).items():
        ready, alive, begun = (
            container(each)[f"{kind}Probe"]["httpGet"] for kind in ("readiness", "liveness", "startup")
        )
        assert ready == {"path": "/health", "port": "http" if name in PUBLIC_PORTS else "health"}
        assert alive == begun == {"path": "/metrics", "port": "health"}
        ports = {port["name"]: port["containerPort"] for port in container(each)["ports"]}
        assert ports == {"health": 8081, **({"http": PUBLIC_PORTS[name]} if name in PUBLIC_PORTS else {})}
        # It waits for its database before it opens a port.
        probe = container(each)["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] >= 3600


async def test_the_route_of_liveness_answers_while_health_says_503() -> None:
    async def away() -> None:
        raise UnavailableError("the database is away")

    checks = HealthChecks(SystemClock())
    checks.register("database", away)
    port = httpx2.ASGITransport(health_port(checks, Metrics(), away))
    async with httpx2.AsyncClient(transport=port, base_url="http://pod:8081") as client:
        assert (await client.get("/health")).status_code == 503
        assert (await client.get("/metrics")).status_code == 200


@overlays
def test_a_pod_has_the_time_to_drain(overlay: str) -> None:
    for name, each in roles(overlay).items():
        before = container(each).get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
        drain = Settings.model_fields["drain_seconds"].default
        assert pod(each)["terminationGracePeriodSeconds"] == 35, name
        assert drain + float(before[1]) < 35, name


@overlays
def test_no_pod_is_root_or_writes_where_it_need_not(overlay: str) -> None:
    for each in of_kind(overlay, "Deployment", "StatefulSet"):
        inside, around = container(each)["securityContext"], pod(each)["securityContext"]
        assert around["runAsNonRoot"]
        assert around["runAsUser"] > 0
        assert around["seccompProfile"] == {"type": "RuntimeDefault"}
        assert inside["allowPrivilegeEscalation"] is False
        assert inside["capabilities"] == {"drop": ["ALL"]}
        assert pod(each)["automountServiceAccountToken"] is False
        assert {"requests", "limits"} <= set(container(each)["resources"])
    for name, each in roles(overlay).items():
        assert container(each)["securityContext"]["readOnlyRootFilesystem"], name
        written = {mount["mountPath"] for mount in container(each)["volumeMounts"] if not mount.get("readOnly")}
        assert {environment(each)[variable]["value"] for variable in ("CALLBOARD_DATA", "CALLBOARD_LOGS")} < written
        assert "/tmp" in written  # noqa: S108  # where tools work


@overlays
def test_the_user_is_the_one_of_the_image(overlay: str) -> None:
    (user,) = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile.base").read_text(), re.MULTILINE)
    for each in roles(overlay).values():
        around = pod(each)["securityContext"]
        assert (str(around["runAsUser"]), str(around["runAsGroup"])) == user
        assert "command" not in container(each)  # the image's entry point is the program, so that SIGTERM reaches it


@overlays
def test_no_secret_stands_in_a_manifest(overlay: str) -> None:
    for each in of_kind(overlay, "Deployment", "StatefulSet"):
        literal = {name for name, variable in environment(each).items() if "value" in variable}
        assert not {name for name in literal if name in SECRET_SETTINGS or re.search("PASS|TOKEN|SECRET|KEY", name)}
    assert SECRET_SETTINGS.isdisjoint(env_file(KUBERNETES / "overlays" / overlay / "settings.env"))
    for path in KUBERNETES.rglob("*.yaml"):
        assert "kind: Secret\n" not in path.read_text(), path


def test_the_file_of_secrets_stays_out_of_git() -> None:
    path = KUBERNETES / "overlays" / "development" / "secrets.env"
    assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode == 0


@overlays
def test_a_role_knows_the_secrets_that_it_reads_and_no_other(overlay: str) -> None:
    assert {name: secrets_of(each) for name, each in roles(overlay).items()} == {
        role: SERVERS | SECRETS.get(role, set()) for role in ROLES
    }


@overlays
def test_every_variable_is_a_setting(overlay: str) -> None:
    settings = env_file(KUBERNETES / "overlays" / overlay / "settings.env")
    named = {name for each in roles(overlay).values() for name in environment(each)}
    assert (named | set(settings)) <= set(SETTINGS)
    Settings.model_validate(settings)


@overlays
def test_a_service_stands_before_each_public_port_and_no_other(overlay: str) -> None:
    services = {each["metadata"]["name"]: each for each in of_kind(overlay, "Service")}
    for name, port in PUBLIC_PORTS.items():
        (found,) = services.pop(name)["spec"]["ports"]
        assert (found["port"], found["targetPort"]) == (port, "http")
    assert set(services) == ({"postgres", "redis", "rabbitmq"} if overlay == "development" else set())


@overlays
def test_every_selector_finds_its_pods(overlay: str) -> None:
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in of_kind(overlay, "Deployment", "StatefulSet")]
    selectors = {
        (each["kind"], each["metadata"]["name"]): each["spec"].get("selector") or each["spec"].get("podSelector")
        for each in of_kind(overlay, "Service", "Deployment", "StatefulSet", "PodDisruptionBudget", "NetworkPolicy")
    }
    for name, selector in selectors.items():
        assert any(matches(selector, each) for each in labels), name


@overlays
def test_a_node_is_drained_one_pod_of_a_role_at_a_time(overlay: str) -> None:
    budgets = {
        each["metadata"]["name"]: each["spec"]["maxUnavailable"] for each in of_kind(overlay, "PodDisruptionBudget")
    }
    assert budgets == dict.fromkeys(ROLES, 1)


def test_the_pools_are_scaled_by_their_own_backlog() -> None:
    metrics = Metrics()
    metrics.set_runs_queued(mode="autonomous", lane="batch", count=1)
    metrics.set_runs_running(mode="autonomous", count=1)
    known = metrics.exposition().decode()
    slots = int(env_file(KUBERNETES / "overlays" / "production" / "settings.env")["CALLBOARD_POOL_CONCURRENCY"])
    scaled = {each["metadata"]["name"]: each["spec"] for each in of_kind("production", "ScaledObject")}
    assert set(scaled) == set(POOLS)
    for name, spec in scaled.items():
        assert spec["scaleTargetRef"]["name"] == name
        assert "replicas" not in roles("production")[name]["spec"]  # it would undo the scaling at each apply
        assert (
            spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"]
            >= 300
        )
        queued, running = (trigger["metadata"] for trigger in spec["triggers"])
        assert float(running["threshold"]) < slots
        for trigger, gauge in ((queued, "runs_queued"), (running, "runs_running")):
            assert f'{gauge}{{namespace="callboard",mode="{POOLS[name]}"}}' in trigger["query"]
            assert f"# TYPE {gauge} gauge" in known


@overlays
def test_agent_files_are_followed_while_running(overlay: str) -> None:
    folder = KUBERNETES / "agents"
    (agents,) = (each for each in of_kind(overlay, "ConfigMap") if each["metadata"]["name"] == "callboard-agents")
    assert set(agents["data"]) == {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    for name, text in agents["data"].items():
        file = load_agent(text.encode(), name)
        assert [str(problem) for problem in (*file.problems, *file.warnings)] == []
    service = roles(overlay)["config-service"]
    (volume,) = (
        each for each in pod(service)["volumes"] if each.get("configMap", {}).get("name") == "callboard-agents"
    )
    (mount,) = (each for each in container(service)["volumeMounts"] if each["name"] == volume["name"])
    assert mount == {"name": "agents", "mountPath": environment(service)["CALLBOARD_AGENTS"]["value"], "readOnly": True}


def test_compose_and_kubernetes_describe_one_system() -> None:
    services = {name: each for name, each in compose().items() if each.get("restart") != "no"}
    servers = {each["metadata"]["name"]: each for each in of_kind("development", "StatefulSet")}
    assert set(services) == set(roles("development")) | set(servers)
    for name, manifest in servers.items():
        assert services[name]["image"] == container(manifest)["image"], name
    for name, manifest in roles("development").items():
        given = set(services[name].get("environment", {}))
        assert given <= set(SETTINGS), name
        assert container(manifest)["resources"]["limits"]["memory"] == services[name]["mem_limit"].upper() + "i", name
        assert given & SECRET_SETTINGS == secrets_of(manifest), name


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        return selector.items() <= labels.items()
    wanted = selector.get("matchLabels", {})
    among = selector.get("matchExpressions", [])
    return wanted.items() <= labels.items() and all(labels.get(each["key"]) in each["values"] for each in among)
