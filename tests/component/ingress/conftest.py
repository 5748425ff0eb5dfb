"""Real brokers on private ports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.redis import embedded
from deedbox.shared.redis.embedded import free_port
from tests.component.workers.server import missing, running_rabbitmq

if TYPE_CHECKING:
    from tests.component.ingress.spooling import MortalRedis

PASSWORD = "s3cret-word"


def wait_until(check: Callable[[], bool], patience_s: float = 30.0) -> None:
    end = time.monotonic() + patience_s
    while not check():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Server:
    """A broker process of this test run."""

    url: str
    pid: int
    """The process that serves, which is the one to freeze."""
    socket: Path | None = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the process: it accepts connections, through the kernel, and never answers."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def redis_binary() -> str | None:
    try:
        return str(embedded.find_server().path)
    except SettingsError:
        return None


@pytest.fixture(scope="session")
def redis_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    binary = redis_binary()
    if binary is None:
        missing("No Redis server was found; install redis-server.")
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    process = subprocess.Popen(
        [
            *(binary, "--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", ""),
            *("--unixsocket", str(folder / "redis.sock")),
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: listens(port))
        yield Server(f"redis://:{PASSWORD}@127.0.0.1:{port}/0", process.pid, folder / "redis.sock")
    finally:
        stop(process)


@pytest.fixture(scope="session")
def rabbitmq_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield Server(server.url, server.pid)


@pytest.fixture
def envelope() -> Envelope:
    return Envelope("default", 1.5, BodySignature.ABSENT, "a" * 32, b'{"a":"\\/ \xc3\xa9"}')


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[MortalRedis]:
    """Run a Redis of the test's own, to be stopped and started."""
    from tests.component.ingress.spooling import MortalRedis  # which needs what stands above

    if redis_binary() is None:
        missing("No Redis server was found; install redis-server.")
    (tmp_path / "redis").mkdir()
    found = MortalRedis(tmp_path / "redis")
    found.start()
    yield found
    found.stop()
