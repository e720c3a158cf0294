"""What `kubectl kustomize` makes of a folder, for the features that `deploy/kubernetes` uses and no other.

So that the manifests are checked where there is no kubectl; where there is one, a test compares both. A field that is
not known here is an AssertionError, not left out.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

FIELDS = {
    "apiVersion", "kind", "resources", "labels", "patches", "namespace", "images", "replicas", "configMapGenerator",
    "secretGenerator",
}  # fmt: skip
MERGE_KEYS = {
    "containers": "name",
    "env": "name",
    "ports": "containerPort",
    "volumes": "name",
    "volumeMounts": "mountPath",
}
"""Lists that are merged by a key when a patch is laid over; all others are replaced (Kubernetes' patchMergeKey)."""


def render(folder: Path) -> list[Manifest]:
    """Every object that the kustomization in `folder` describes."""
    made = _build(folder)
    names = {
        (each["kind"], old): each["metadata"]["name"]
        for each in made
        if (old := each["metadata"].pop("_before", None)) is not None
    }
    for each in made:
        _follow(each, names)
    return made


def _build(folder: Path) -> list[Manifest]:
    wanted = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(wanted) <= FIELDS, f"{folder}: this renderer does not know {sorted(set(wanted) - FIELDS)}"
    made: list[Manifest] = []
    for place in wanted.get("resources", ()):
        path = folder / place
        made += _build(path) if path.is_dir() else [each for each in yaml.safe_load_all(path.read_text()) if each]
    made += [_config_map(folder, each) for each in wanted.get("configMapGenerator", ())]
    made += [_secret(folder, each) for each in wanted.get("secretGenerator", ())]
    for patch in wanted.get("patches", ()):
        _patch(made, yaml.safe_load((folder / patch["path"]).read_text()), patch["target"])
    for each in made:
        _transform(each, wanted)
    return made


def _patch(made: list[Manifest], change: Manifest, target: Mapping[str, str]) -> None:
    """A patch with a target is for all that match: its own name says nothing."""
    over = {**change, "metadata": {key: value for key, value in change["metadata"].items() if key != "name"}}
    for index, each in enumerate(made):
        if _targeted(each, target):
            made[index] = _merged(each, over)


def _transform(manifest: Manifest, wanted: Mapping[str, Any]) -> None:
    for label in wanted.get("labels", ()):
        _label(manifest, label["pairs"], selectors=label.get("includeSelectors", False))
    images = {
        each["name"]: f"{each.get('newName', each['name'])}:{each['newTag']}" for each in wanted.get("images", ())
    }
    for container in containers(manifest):
        container["image"] = images.get(container["image"], container["image"])
    counts = {each["name"]: each["count"] for each in wanted.get("replicas", ())}
    if manifest["kind"] in ("Deployment", "StatefulSet") and manifest["metadata"]["name"] in counts:
        manifest["spec"]["replicas"] = counts[manifest["metadata"]["name"]]
    if "namespace" in wanted and manifest["kind"] != "Namespace":
        manifest["metadata"]["namespace"] = wanted["namespace"]


def containers(manifest: Manifest) -> Iterator[Manifest]:
    """The containers of whatever makes pods."""
    if manifest["kind"] in ("Deployment", "StatefulSet"):
        yield from manifest["spec"]["template"]["spec"]["containers"]


def _targeted(manifest: Manifest, target: Mapping[str, str]) -> bool:
    assert set(target) <= {"kind", "name"}, target
    return manifest["kind"] == target["kind"] and bool(
        re.fullmatch(target.get("name", ".*"), manifest["metadata"]["name"])
    )


def _merged(below: Any, over: Any, key: str | None = None) -> Any:
    if isinstance(below, dict) and isinstance(over, dict):
        assert None not in over.values(), "deleting by null is not known to this renderer"
        both = {name: _merged(value, over[name], name) if name in over else value for name, value in below.items()}
        return both | {name: copy.deepcopy(value) for name, value in over.items() if name not in below}
    if isinstance(below, list) and isinstance(over, list) and key in MERGE_KEYS:
        merge = MERGE_KEYS[key]
        patches = {each[merge]: each for each in over}
        first = [copy.deepcopy(each) for each in over if each[merge] not in {known[merge] for known in below}]
        return first + [_merged(each, patches[each[merge]]) if each[merge] in patches else each for each in below]
    return copy.deepcopy(over)


def _label(manifest: Manifest, pairs: Mapping[str, str], *, selectors: bool) -> None:
    manifest["metadata"].setdefault("labels", {}).update(pairs)
    if not selectors:
        return
    spec = manifest.get("spec", {})
    if manifest["kind"] == "Service":
        spec["selector"].update(pairs)
    elif manifest["kind"] == "NetworkPolicy":
        if "matchLabels" in spec["podSelector"]:
            spec["podSelector"]["matchLabels"].update(pairs)
        peers = [peer for rule in spec.get("ingress", ()) for peer in rule.get("from", ())]
        peers += [peer for rule in spec.get("egress", ()) for peer in rule.get("to", ())]
        assert not any("podSelector" in peer for peer in peers), "labels of peers are not known to this renderer"
    elif manifest["kind"] in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
        spec["selector"]["matchLabels"].update(pairs)
        if "template" in spec:
            spec["template"]["metadata"].setdefault("labels", {}).update(pairs)


def _config_map(folder: Path, wanted: Mapping[str, Any]) -> Manifest:
    assert set(wanted) <= {"name", "files", "envs", "options"}, wanted
    files = {Path(file).name: (folder / file).read_text() for file in wanted.get("files", ())}
    data = {**files, **_env_files(folder, wanted.get("envs", ()))}
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": wanted["name"]}, "data": data}
    return _suffixed(made, wanted.get("options", {}))


def _secret(folder: Path, wanted: Mapping[str, Any]) -> Manifest:
    assert set(wanted) <= {"name", "envs"}, wanted
    data = {name: _wrapped_base64(value) for name, value in _env_files(folder, wanted["envs"]).items()}
    made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": wanted["name"]}, "type": "Opaque", "data": data}
    return _suffixed(made, {})


def _wrapped_base64(value: str) -> str:
    """Lines of 70 characters, as kustomize writes them; one line stands without an end."""
    text = base64.b64encode(value.encode()).decode()
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    return text if len(lines) == 1 else "".join(f"{line}\n" for line in lines)


def _env_files(folder: Path, files: Sequence[str]) -> dict[str, str]:
    lines = [line for file in files for line in (folder / file).read_text().splitlines()]
    return dict(line.split("=", 1) for line in lines if line.strip() and not line.startswith("#"))


def _suffixed(manifest: Manifest, options: Mapping[str, Any]) -> Manifest:
    assert set(options) <= {"disableNameSuffixHash"}, options
    if not options.get("disableNameSuffixHash"):
        name = manifest["metadata"]["name"]
        manifest["metadata"] = {"name": f"{name}-{_suffix(manifest)}", "_before": name}
    return manifest


def _suffix(manifest: Manifest) -> str:
    """kustomize's digest of the contents (the name is empty in it): a change makes a new name, and so new pods."""
    hashed = {"kind": manifest["kind"], "name": "", "data": manifest["data"]}
    if manifest["kind"] == "Secret":
        hashed["type"] = manifest["type"]
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(character, escaped)
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(str.maketrans("013ae", "ghkmt"))


def _follow(value: Any, names: Mapping[tuple[str, str], str]) -> None:
    """Puts the names that got a digest into the references to them."""
    if isinstance(value, list):
        for each in value:
            _follow(each, names)
    elif isinstance(value, dict):
        for key, each in value.items():
            kind = {"configMapKeyRef": "ConfigMap", "configMapRef": "ConfigMap", "configMap": "ConfigMap",
                    "secretKeyRef": "Secret", "secretRef": "Secret"}.get(key)  # fmt: skip
            if kind is not None and isinstance(each, dict) and "name" in each:
                each["name"] = names.get((kind, each["name"]), each["name"])
            _follow(each, names)
