"""Hosts as network namespaces on one virtual switch, which this process makes and removes. Needs root and iproute2.

A host that is *cut off* sends no farewell: its packets are lost, as when a cable is pulled or a machine loses power.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.component.workers.server import missing

_NET: Final = "10.213.77"
_CLONE_NEWNET: Final = 0x40000000


def demand_namespaces() -> None:
    """Skip where hosts cannot be made; in CI that is a failure."""
    if os.geteuid() != 0:
        missing("Network namespaces need root.")
    if shutil.which("ip") is None:
        missing("Network namespaces need `ip`; install Debian's package iproute2.")


class Host:
    """One host: an address, and processes that see no other network."""

    def __init__(self, network: Network, name: str, number: int) -> None:
        self.name, self.address = name, f"{_NET}.{number}"
        self.namespace = f"{network.prefix}-{name}"
        self._switch, self._port = network.switch, f"p{number}"
        _ip("netns", "add", self.namespace)
        pair = ("peer", "name", "eth0", "netns", self.namespace)
        _ip("-n", self._switch, "link", "add", self._port, "type", "veth", *pair)
        _ip("-n", self._switch, "link", "set", self._port, "master", "br0", "up")
        _ip("-n", self.namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", self.namespace, "link", "set", device, "up")

    def command(self, *command: str) -> list[str]:
        """Return the command that runs this one on the host, under its name."""
        named = 'hostname "$0" && exec "$@"'
        return [
            "ip",
            "netns",
            "exec",
            self.namespace,
            "unshare",
            "--uts",
            "sh",
            "-c",
            named,
            self.name,
            *command,
        ]

    def enter(self) -> None:
        """Put the calling thread on this host: sockets that it opens from now on are the host's."""
        with Path("/run/netns", self.namespace).open() as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    def cut_off(self) -> None:
        """Lose every packet from and to the host."""
        _ip("-n", self._switch, "link", "set", self._port, "down")

    def reconnect(self) -> None:
        """End ``cut_off``."""
        _ip("-n", self._switch, "link", "set", self._port, "up")

    def pids(self) -> list[int]:
        """Return the processes that run on the host."""
        return [int(pid) for pid in _ip("netns", "pids", self.namespace).split()]

    def kill(self) -> None:
        """SIGKILL every process of the host."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def remove(self) -> None:
        """Kill what runs on it and take it away."""
        for _ in range(50):
            self.kill()
            if not self.pids():
                break
            time.sleep(0.05)
        _ip("netns", "delete", self.namespace)


class Network:
    """The switch and its hosts; ``close`` removes them."""

    def __init__(self) -> None:
        self.prefix = f"dbx{os.getpid()}"
        self.switch = f"{self.prefix}-switch"
        self.hosts: list[Host] = []
        self._adding = threading.Lock()
        _ip("netns", "add", self.switch)
        _ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", self.switch, "link", "set", "br0", "up")

    def host(self, name: str) -> Host:
        """Add a host."""
        with self._adding:
            self.hosts.append(Host(self, name, len(self.hosts) + 1))
            return self.hosts[-1]

    def close(self) -> None:
        """Remove everything that was made."""
        for host in self.hosts:
            host.remove()
        _ip("netns", "delete", self.switch)


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
