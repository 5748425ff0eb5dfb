"""A Redis with replicas, all of which must have a callback before it counts; each of them is away now and then."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Final

from tests.component.workers.server import RedisServer, server_binary

AWAY_S: Final = 3.0
RESTARTS_AFTER_S: Final = 1.0


class ReplicatedRedis:
    """One master and its replicas, each with its files."""

    def __init__(self, folder: Path, replicas: int) -> None:
        self._stopped = threading.Event()
        self._coming_back: list[threading.Thread] = []
        self._master = self._server(folder / "master")
        self.url = self._master.url
        follows = ("--replicaof", "127.0.0.1", str(self._master.port), "--repl-diskless-sync-delay", "0")
        self._replicas = [self._server(folder / f"replica{number}", *follows) for number in range(replicas)]
        self._away = 0

    @staticmethod
    def _server(folder: Path, *options: str) -> RedisServer:
        folder.mkdir(parents=True)
        server = RedisServer(server_binary(), folder, *options)
        server.start()
        return server

    def end_master(self, number: int) -> int:
        """End the master by a signal; it is back after a second, with what it has on its disk."""
        pid = self._master.pid
        self._master.end(number)
        time.sleep(RESTARTS_AFTER_S)
        self._master.start()
        return pid

    def end_replica(self, number: int) -> int:
        """End a replica by a signal, the next one each time; it is back after some seconds."""
        replica = self._replicas[self._away % len(self._replicas)]
        self._away += 1
        pid = replica.pid
        replica.end(number)
        back = threading.Thread(target=self._start_again, args=(replica,), name="replica")
        back.start()
        self._coming_back.append(back)
        return pid

    def _start_again(self, replica: RedisServer) -> None:
        self._stopped.wait(AWAY_S)
        replica.start()

    def close(self) -> None:
        """End all."""
        self._stopped.set()
        for each in self._coming_back:
            each.join()
        for server in (*self._replicas, self._master):
            server.stop()
