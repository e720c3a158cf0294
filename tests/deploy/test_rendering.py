"""The renderer of these tests makes what kubectl makes, and what it makes is what Kubernetes and KEDA accept."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.deploy.kustomize import MERGE_KEYS, Manifest
from tests.deploy.manifests import OVERLAYS, copy_for_a_person, rendered

OLDEST_KUBERNETES, NEWEST_KUBERNETES = "1.28", "1.34"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl 1.28 or newer on the path")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_makes_the_same(overlay: str, tmp_path: Path) -> None:
    folder = copy_for_a_person(tmp_path) / "overlays" / overlay
    told = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True).stdout
    theirs = [each for each in yaml.safe_load_all(told) if each]
    assert by_name(theirs) == by_name(list(rendered(overlay)))


@pytest.mark.slow
@pytest.mark.parametrize("version", [OLDEST_KUBERNETES, NEWEST_KUBERNETES])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_accepts_every_object(overlay: str, version: str) -> None:
    for each in rendered(overlay):
        if not each["apiVersion"].startswith("keda.sh/"):
            kubernetes_validate.validate(each, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    service = next(each for each in rendered("production") if each["kind"] == "Service")
    with pytest.raises(kubernetes_validate.ValidationError, match="replicas"):
        kubernetes_validate.validate(
            {**service, "spec": {**service["spec"], "replicas": 2}}, NEWEST_KUBERNETES, strict=True
        )


def test_keda_accepts_the_scaling() -> None:
    schema = json.loads((Path(__file__).parent / "schemas" / "scaledobject.json").read_text())
    scaled = [each for each in rendered("production") if each["apiVersion"].startswith("keda.sh/")]
    assert len(scaled) == 3
    for each in scaled:
        jsonschema.validate(each, schema)


def by_name(manifests: list[Manifest]) -> dict[tuple[str, str], Any]:
    return {(each["kind"], each["metadata"]["name"]): in_order(each) for each in manifests}


def in_order(value: Any, key: str = "") -> Any:
    """Merged lists have no order of their own."""
    if isinstance(value, dict):
        return {name: in_order(each, name) for name, each in value.items()}
    if isinstance(value, list):
        merge = MERGE_KEYS.get(key)
        found = [in_order(each) for each in value]
        if merge is not None and all(isinstance(each, dict) and merge in each for each in found):
            return sorted(found, key=lambda each: str(each[merge]))
        return found
    return value
