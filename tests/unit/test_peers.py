"""A test that needs a server of others is skipped where that is missing, and fails in CI, wherever it comes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import peers

BOTH = pytest.mark.parametrize(
    ("find", "folder", "place"),
    [(peers.python_peer, "python", "bin"), (peers.npm_peer, "node_modules", ".bin")],
    ids=["python", "npm"],
)


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node = tmp_path / "path" / "node"
    node.parent.mkdir()
    node.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(node.parent))
    monkeypatch.setattr(peers, "_PEERS", tmp_path)


@BOTH
def test_what_is_missing_is_skipped_with_the_command_and_fails_in_ci(
    find: Callable[[str], Path], folder: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="scripts/peers"):
        find("server")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="scripts/peers"):
        find("server")


@BOTH
def test_what_was_installed_to_the_end_is_found(
    find: Callable[[str], Path], folder: str, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CI", raising=False)
    program = tmp_path / folder / place / "server"
    program.parent.mkdir(parents=True)
    program.touch()
    with pytest.raises(pytest.skip.Exception):
        find("server")
    (tmp_path / folder / ".stamp").touch()
    assert find("server") == program


def test_without_node_npm_s_are_missing_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(pytest.skip.Exception, match="apt-get install nodejs npm"):
        peers.npm_peer("server")
