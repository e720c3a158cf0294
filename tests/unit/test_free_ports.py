"""Ports that tests choose beforehand stay theirs."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.servers.ports import PortRegister, free_port, ports_for_servers

DRAW_ALL = """
import sys
from pathlib import Path
from tests.support.servers.ports import PortRegister
register = PortRegister(Path(sys.argv[1]), [int(port) for port in sys.argv[2:]])
try:
    while True:
        print(register.draw())
except RuntimeError:
    pass
"""


def drawn_elsewhere(file: Path, ports: list[int]) -> list[int]:
    """What another process can still get of these ports."""
    ran = subprocess.run(
        [sys.executable, "-c", DRAW_ALL, str(file), *map(str, ports)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return sorted(map(int, ran.stdout.split()))


@pytest.mark.slow
def test_a_port_is_one_process_s_until_that_ends(tmp_path: Path) -> None:
    ports = sorted(free_port() for _ in range(4))
    register = PortRegister(tmp_path / "ports", ports)
    mine = {register.draw(), register.draw()}
    assert len(mine) == 2
    rest = sorted(set(ports) - mine)
    assert drawn_elsewhere(tmp_path / "ports", ports) == rest
    assert sorted((register.draw(), register.draw())) == rest, "the other process has ended"
    with pytest.raises(RuntimeError, match="none of 4 ports is free"):
        register.draw()


def test_a_port_that_somebody_listens_on_is_passed_over_and_comes_back_when_it_is_let_go(tmp_path: Path) -> None:
    port = free_port()
    register = PortRegister(tmp_path / "ports", [port])
    with socket.create_server(("127.0.0.1", port)), pytest.raises(RuntimeError):
        register.draw()
    assert register.draw() == port


def test_ports_are_none_that_outgoing_connections_or_listeners_on_port_0_get() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert server.getsockname()[1] not in ports_for_servers()
    assert free_port() in ports_for_servers()
