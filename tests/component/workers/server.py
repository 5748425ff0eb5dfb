"""A real Redis on a private port, with the durability that production has."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.redis import embedded
from deedbox.shared.redis.embedded import free_port
from tests.support.rabbitmq import RabbitServer
from tests.support.waiting import until

__all__ = ["until"]


def missing(what: str) -> NoReturn:
    """Skip on a developer's machine; in CI a missing server is a failure, or nothing would be tested there."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@contextmanager
def running_rabbitmq(folder: Path, config: str = "") -> Iterator[RabbitServer]:
    """Run a RabbitMQ of this test's own, with further lines of configuration; skips or fails without one."""
    if not RabbitServer.installed():
        missing("No RabbitMQ was found; install Debian's package rabbitmq-server.")
    server = RabbitServer(folder / "node", config=config)
    try:
        server.start()
        yield server
    finally:
        server.close()


def server_binary() -> Path:
    """Return the Redis or Valkey server; skips or fails without one."""
    try:
        return embedded.find_server().path
    except SettingsError as error:
        missing(str(error))
        raise


class RedisServer:
    """One server process; it may be killed and started again on the same append-only file."""

    def __init__(self, binary: Path, folder: Path, *options: str) -> None:
        self.port = free_port()
        self._command = [
            *(str(binary), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"),
            *("--logfile", str(folder / "redis.log"), *options),
        ]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until(self._answers, "Redis answers")

    @property
    def pid(self) -> int:
        """Of the process that runs, or ran last."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory runs out."""
        self.end(signal.SIGKILL)

    def end(self, number: int) -> None:
        """End it by a signal, which is sent again: a Redis that writes its first append-only file refuses SIGTERM."""
        process = self._process
        assert process is not None

        def ended() -> bool:
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            return process.returncode is not None

        until(ended, "Redis ended")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Answer nothing within the block, as a server on a stuck disk does."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def freeze(self) -> None:
        """Stop it in its tracks: it takes connections, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """End whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def client(self) -> Redis:
        """Return a client of its own."""
        return Redis.from_url(self.url, socket_timeout=10)

    def _answers(self) -> bool:
        with Redis.from_url(self.url, retry=Retry(NoBackoff(), 0), socket_timeout=2) as client:
            try:
                return bool(client.ping())
            except RedisError:  # refused, or still loading its file
                return False
