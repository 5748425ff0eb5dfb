"""A real RabbitMQ on private ports, with a node name, a data directory and a name server of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ingress.publisher import Publisher
from shared import topology
from tests.component.workers.conftest import fragile, redis_server, state
from tests.component.workers.server import free_port, missing, until

__all__ = ["fragile", "redis_server", "state"]

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
STARTS_WITHIN_S = 60.0


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False


def _environment(folder: Path, port: int) -> dict[str, str]:
    return {
        **os.environ,
        "HOME": str(folder),  # the Erlang cookie
        "ERL_EPMD_PORT": str(free_port()),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"bridge{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
    }


def _serving(process: subprocess.Popen[bytes]) -> int:
    """Return the pid of the Erlang machine: the start script may have become it or started it."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    return int(children[0]) if children else process.pid


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def amqp_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not SERVER.exists():
        missing("No RabbitMQ was found; install Debian's package rabbitmq-server.")
    port, folder = free_port(), tmp_path_factory.mktemp("rabbitmq")
    environment = _environment(folder, port)
    names = subprocess.Popen(["epmd"], env=environment, stdout=subprocess.DEVNULL)
    process = subprocess.Popen([str(SERVER)], env=environment, stdout=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port), "RabbitMQ listens", STARTS_WITHIN_S)
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
        with suppress(ProcessLookupError):
            os.kill(_serving(process), signal.SIGTERM)
    finally:
        _stop(process)
        _stop(names)


@pytest.fixture
def queue(amqp_url: str) -> Iterator[Any]:
    """Lend the raw queue, empty, for a look at its depth."""
    with topology.connect(amqp_url) as connection:
        topology.declare(connection)
        bound = topology.raw_queue("amqp")(connection.default_channel)
        bound.purge()
        yield bound


@pytest.fixture
def publish(amqp_url: str, queue: Any) -> Iterator[Callable[..., None]]:  # noqa: ARG001 - emptied first
    """Publish as ingress does."""
    publisher = Publisher(amqp_url, limit=2)
    yield publisher.publish
    publisher.close()
