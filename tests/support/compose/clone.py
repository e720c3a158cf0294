"""A copy of the repository as a person has it after `git clone` and `cp .env.example .env`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.processes import ROOT

PUBLISHED = {"gateway": '"8080:8080"', "api": '"127.0.0.1:8000:8000"', "rabbitmq": '"127.0.0.1:15672:15672"'}
"""What the compose file publishes, in its words."""


def clone(target: Path, *, ports: Mapping[str, int], env: Mapping[str, str]) -> None:
    """Every file that git has or would add. Only the published ports are others: the usual ones may be in use here."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        source = ROOT / name
        if source.is_symlink() or not source.is_file():
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target / name)
    _publish_elsewhere(target / "docker-compose.yml", ports)
    _fill_in(target / ".env.example", target / ".env", env)


def _publish_elsewhere(file: Path, ports: Mapping[str, int]) -> None:
    text = file.read_text()
    for name, published in PUBLISHED.items():
        assert text.count(published) == 1, f"docker-compose.yml does not publish {published}"
        inside = published.strip('"').rpartition(":")[2]
        text = text.replace(published, f'"127.0.0.1:{ports[name]}:{inside}"')
    file.write_text(text)


def _fill_in(example: Path, target: Path, env: Mapping[str, str]) -> None:
    left = dict(env)
    lines = []
    for line in example.read_text().splitlines():
        name, equals, _ = line.partition("=")
        lines.append(f"{name}={left.pop(name)}" if equals and name in left else line)
    assert not left, f".env.example does not name {', '.join(left)}"
    target.write_text("\n".join(lines) + "\n")
