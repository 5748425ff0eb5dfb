"""A RabbitMQ that can be killed and comes back with its data: own ports, node name, directories and name server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from deedbox.shared.redis.embedded import free_port

SERVER: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
STARTS_WITHIN_S: Final = 60.0


class RabbitServer:
    """One node."""

    def __init__(self, folder: Path, address: str = "127.0.0.1", config: str = "") -> None:
        """``config``: further lines of rabbitmq.conf."""
        folder.mkdir(parents=True)
        self._port = free_port()
        configuration = folder / "rabbitmq.conf"
        configuration.write_text("loopback_users.guest = false\n" + config)
        self._log = (folder / "console.log").open("ab")
        self._environment = {
            **os.environ,
            "HOME": str(folder),  # the Erlang cookie
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"deedbox{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": address,
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(configuration),
        }
        self.url = f"amqp://guest:guest@{address}:{self._port}//"
        self._names = subprocess.Popen(
            self.command("epmd"), env=self._environment, stdout=self._log, stderr=self._log
        )
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def installed() -> bool:
        """Tell whether there is a RabbitMQ on this machine."""
        return SERVER.exists() and shutil.which("epmd") is not None

    def start(self) -> None:
        """Start and wait until it listens. Raises TimeoutError."""
        self._process = subprocess.Popen(
            self.command(str(SERVER)), env=self._environment, stdout=self._log, stderr=self._log
        )
        deadline = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < deadline:
            if self.listens():
                return
            time.sleep(0.1)
        raise TimeoutError("RabbitMQ did not start")

    def command(self, *command: str) -> list[str]:
        """Return the command that starts this program; a node on another host has one around it."""
        return list(command)

    def listens(self) -> bool:
        """Tell whether the node takes connections."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 0.5):
            return True
        return False

    def end(self, number: signal.Signals) -> int:
        """Send a signal to the Erlang machine and wait for its end; returns its pid."""
        members, machine = self._members()
        machine.send_signal(number)
        _gone, alive = psutil.wait_procs(members, timeout=20)
        for each in alive:
            each.kill()
        assert self._process is not None
        self._process.wait()  # psutil has reaped it; this tells the object
        return int(machine.pid)

    @property
    def pid(self) -> int:
        """Pid of the Erlang machine, which is the process that serves."""
        return int(self._members()[1].pid)

    def _members(self) -> tuple[list[psutil.Process], psutil.Process]:
        """Return all processes of the node, and the Erlang machine: the start script may have become it or started it."""
        assert self._process is not None
        first = psutil.Process(self._process.pid)
        members = [first, *first.children(recursive=True)]
        return members, next((each for each in members if each.name().startswith("beam")), first)

    def close(self) -> None:
        """End the node and its name server."""
        if self._process is not None and self._process.poll() is None:
            self.end(signal.SIGKILL)
        self._names.kill()
        self._names.wait()
        self._log.close()
