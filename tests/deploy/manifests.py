"""The manifests of each overlay, rendered from a copy in which the person who deploys has made the file of secrets."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.kustomize import Manifest, containers, render
from tests.support.processes import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("development", "production")


def copy_for_a_person(folder: Path) -> Path:
    """The folder as somebody has it who followed the first lines of the overlay."""
    copied = folder / "kubernetes"
    shutil.copytree(KUBERNETES, copied, ignore=shutil.ignore_patterns("secrets.env"))
    for example in copied.rglob("secrets.env.example"):
        shutil.copy(example, example.with_name("secrets.env"))
    return copied


@functools.cache
def rendered(overlay: str) -> tuple[Manifest, ...]:
    with tempfile.TemporaryDirectory() as folder:
        return tuple(render(copy_for_a_person(Path(folder)) / "overlays" / overlay))


def of_kind(overlay: str, *kinds: str) -> Iterator[Manifest]:
    return (each for each in rendered(overlay) if each["kind"] in kinds)


def roles(overlay: str) -> dict[str, Manifest]:
    """The Deployments by name."""
    return {each["metadata"]["name"]: each for each in of_kind(overlay, "Deployment")}


def pod(manifest: Manifest) -> dict[str, Any]:
    spec: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return spec


def container(manifest: Manifest) -> dict[str, Any]:
    (only,) = containers(manifest)
    return only


def environment(manifest: Manifest) -> dict[str, Any]:
    """The variables that are given by name."""
    return {each["name"]: each for each in container(manifest).get("env", ())}


def secrets_of(manifest: Manifest) -> set[str]:
    """The variables that come from a Secret."""
    return {name for name, each in environment(manifest).items() if "secretKeyRef" in each.get("valueFrom", {})}


def env_file(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def compose() -> dict[str, Any]:
    """The compose file's services."""
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services
