"""A master, its replicas and three sentinels: real processes on private ports, ended by their pids."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from deedbox.shared.redis.embedded import free_port
from tests.component.workers.server import server_binary, until

MASTER = "sign"
SENTINELS = 3
PASSWORD = "s3cret/word"
SENTINEL_PASSWORD = "other@word"

_SENTINEL = """\
port {port}
bind 127.0.0.1
dir {folder}
requirepass {own}
sentinel sentinel-pass {own}
sentinel monitor {master} 127.0.0.1 {master_port} 2
sentinel auth-pass {master} {password}
sentinel down-after-milliseconds {master} {down_after_ms}
sentinel failover-timeout {master} 4000
"""


class Process:
    """One server."""

    def __init__(self, port: int, command: list[str], folder: Path, password: str) -> None:
        self.port = port
        self._command, self._folder, self._password = command, folder, password
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        """Start and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, *more], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder
            )
        until(self._answers, f"port {self.port} answers")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL, and gather it."""
        if self._process is not None and self.alive():
            self._process.kill()
            self._process.wait()

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._process is not None and self._process.poll() is None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the process: connections stay, answers do not come."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def client(self) -> Redis:
        """Return a client that fails at once."""
        return Redis(port=self.port, password=self._password, retry=Retry(NoBackoff(), 0), socket_timeout=2)

    def info(self) -> dict[str, Any]:
        """Return INFO replication; empty if it does not answer."""
        try:
            with self.client() as client:
                return dict(client.info("replication"))
        except RedisError:
            return {}

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False


class Cluster:
    """``replicas`` servers beside the master; ``master`` is the first until a failover."""

    def __init__(self, folder: Path, replicas: int = 1, down_after_ms: int = 700) -> None:
        self._folder = folder
        self._down_after_ms = down_after_ms
        self.servers = [self._server(number) for number in range(1 + replicas)]
        self.sentinels: list[Process] = []

    def start(self) -> None:
        """Start everything and wait until all know each other."""
        first, *others = self.servers
        first.start()
        for server in others:
            server.start("--replicaof", "127.0.0.1", str(first.port))
        self.until_replicated(len(others))
        self.watch()

    def watch(self, master_port: int | None = None) -> None:
        """Start the sentinels; ``master_port``: where they reach the first server, if not at its own port."""
        self.sentinels = [
            self._sentinel(number, master_port or self.servers[0].port) for number in range(SENTINELS)
        ]
        for sentinel in self.sentinels:
            sentinel.start()
        until(self._complete, "the sentinels know each other and the replicas")

    def watch_apart(self, told: Sequence[tuple[Process, str]]) -> None:
        """Start sentinels of which each is told another master, and further lines of its configuration."""
        for number, (server, lines) in enumerate(told):
            sentinel = self._sentinel(number, server.port)
            with (self._folder / f"sentinel{number}" / "sentinel.conf").open("a") as configuration:
                configuration.write(lines)
            sentinel.start()
            self.sentinels.append(sentinel)

    def until_noticed(self, by: int) -> None:
        """Wait until a sentinel takes its master for dead."""
        with self.sentinels[by].client() as client:
            until(lambda: client.sentinel_master(MASTER)["is_sdown"], "a sentinel noticed it")

    @property
    def url(self) -> str:
        """The address as a deployment writes it."""
        nodes = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        login = PASSWORD.replace("/", "%2F")
        query = f"sentinel_password={SENTINEL_PASSWORD.replace('@', '%40')}"
        return f"redis+sentinel://:{login}@{nodes}/{MASTER}/0?{query}"

    @property
    def master(self) -> Process:
        """The server that the sentinels name; waits until they name one that is master."""
        return until(self._find_master, "a master is elected")  # type: ignore[no-any-return]

    def replica(self) -> Process:
        """Return a server that is no master."""
        master = self.master
        return next(server for server in self.servers if server is not master)

    def fail_over(self) -> Process:
        """SIGKILL the master; return it once another one is elected."""
        old = self.master
        old.kill()
        until(lambda: self._find_master() not in {None, old}, "another master is elected")
        return old

    def hand_over(self) -> None:
        """Let the sentinels elect another master while the old one lives, as for maintenance."""
        old = self.master
        with self.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", MASTER)
        until(lambda: self._find_master() not in {None, old}, "another master is elected")
        # Sentinel does this by itself, 8 to 10 seconds later; until then the old one takes writes, and forgets them.
        with old.client() as client:
            client.replicaof("127.0.0.1", self.master.port)

    def heal(self) -> None:
        """Bring back whatever was killed, and empty the data."""
        for server in self.servers:
            if not server.info():
                self.bring_back(server)
        self.until_replicated(len(self.servers) - 1)
        with self.master.client() as client:
            client.flushall()

    def bring_back(self, server: Process) -> None:
        """Start a killed server again, as a replica of the master of now."""
        server.start("--replicaof", "127.0.0.1", str(self.master.port))

    def until_replicated(self, count: int) -> None:
        """Wait until the master has so many replicas in step."""
        until(lambda: self._online() >= count, f"{count} replicas are in step")

    def close(self) -> None:
        """End whatever runs, frozen processes too."""
        for process in (*self.sentinels, *self.servers):
            process.kill()

    def _online(self) -> int:
        counts = [server.info() for server in self.servers]
        masters = [info for info in counts if info.get("role") == "master"]
        return max(
            (sum(info[f"slave{n}"]["state"] == "online" for n in range(info["connected_slaves"])) for info in masters),
            default=0,
        )  # fmt: skip

    def _find_master(self) -> Process | None:
        named = {self._named(sentinel) for sentinel in self.sentinels} - {0}
        for server in self.servers:
            if named == {server.port} and server.info().get("role") == "master":
                return server
        return None

    @staticmethod
    def _named(sentinel: Process) -> int:
        try:
            with sentinel.client() as client:
                return int(client.sentinel_get_master_addr_by_name(MASTER)[1])
        except (RedisError, TypeError):
            return 0

    def _complete(self) -> bool:
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                state = client.sentinel_master(MASTER)
            if (state["num-other-sentinels"], state["num-slaves"]) != (SENTINELS - 1, len(self.servers) - 1):
                return False
        return True

    def _server(self, number: int) -> Process:
        folder, port = self._place(f"server{number}"), free_port()
        command = [
            *(str(server_binary()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
            *("--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0"),
        ]
        return Process(port, command, folder, PASSWORD)

    def _sentinel(self, number: int, master_port: int) -> Process:
        folder, port = self._place(f"sentinel{number}"), free_port()
        configuration = _SENTINEL.format(
            port=port, folder=folder, own=SENTINEL_PASSWORD, master=MASTER, master_port=master_port,
            password=PASSWORD, down_after_ms=self._down_after_ms,
        )  # fmt: skip
        (folder / "sentinel.conf").write_text(configuration)
        return Process(
            port,
            [str(server_binary()), str(folder / "sentinel.conf"), "--sentinel"],
            folder,
            SENTINEL_PASSWORD,
        )

    def _place(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(parents=True)
        return folder
