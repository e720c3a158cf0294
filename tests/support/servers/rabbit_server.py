"""A private RabbitMQ."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from tests.support.servers.binaries import required
from tests.support.servers.ports import free_port
from tests.support.servers.rabbit_management import RabbitManagement
from tests.support.servers.server_process import ServerProcess, dying_with_parent

_USER = "callboard"
_PASSWORD = "callboard"
_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


class RabbitServer(ServerProcess):
    """RabbitMQ with an administrator, its HTTP management API, and a name service (epmd) of its own."""

    name = "rabbitmq"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self._management_port = free_port()
        self._distribution_port = free_port()
        self._name_service_port = free_port()
        self._name_service: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://{_USER}:{_PASSWORD}@127.0.0.1:{self.port}/"

    @property
    def management_url(self) -> str:
        """The HTTP management API, with its user in it."""
        return f"http://{_USER}:{_PASSWORD}@127.0.0.1:{self._management_port}"

    @property
    def management(self) -> RabbitManagement:
        """Virtual hosts, queues and connections of this server."""
        return RabbitManagement(self.management_url)

    def control(self, *arguments: str, within: float = 60.0) -> str:
        """What rabbitmqctl prints; subprocess.CalledProcessError if it refuses. Seconds of CPU each: use it rarely."""
        program = Path(required("rabbitmq-server")).with_name("rabbitmqctl")
        command = [str(program), "--quiet", *arguments]
        done = subprocess.run(
            command, env=self._environment(), check=True, capture_output=True, text=True, timeout=within
        )
        return done.stdout

    async def aclose(self) -> None:
        await super().aclose()
        if self._name_service is not None:
            self._name_service.kill()
            self._name_service.wait()
            self._name_service = None

    def _prepare(self) -> None:
        (self.folder / "home").mkdir(exist_ok=True)
        (self.folder / "plugins").write_text("[rabbitmq_management].\n")
        (self.folder / "environment").touch()
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"management.tcp.ip = 127.0.0.1\n"
            f"management.tcp.port = {self._management_port}\n"
            f"default_user = {_USER}\n"
            f"default_pass = {_PASSWORD}\n"
            "log.console = true\n"
            "log.file = false\n"
            "disk_free_limit.absolute = 50MB\n"
            # A queue deleted by hand and a dead peer are noticed in test time, not in minutes.
            "collect_statistics_interval = 1000\n"
        )
        self._name_service = subprocess.Popen(
            [*dying_with_parent(), required("epmd"), "-address", "127.0.0.1", "-port", str(self._name_service_port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _command(self) -> list[str]:
        return [required("rabbitmq-server")]

    def _environment(self) -> dict[str, str]:
        folder = self.folder
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            # The Erlang machine is this very process then, not a shell's child that signals do not reach.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_NODENAME": f"callboard{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "environment"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(self._name_service_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    async def _is_ready(self) -> bool:
        """The listener opens last but one; the management API after it."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.settimeout(5)
                connection.sendall(_PROTOCOL_HEADER)
                if not connection.recv(16):
                    return False
        except OSError:
            return False
        return await self.management.is_ready()
