"""The Redis of one measurement: new and empty each time, on a port of its own, as durable as Deedbox asks for.

``appendonly yes``, ``appendfsync always`` for every subject alike, on the disk of the project's ``var``. What
that costs depends on the disk: one that really waits for its platter makes all subjects slower and closer.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from redis import Redis
from redis.exceptions import RedisError

from deedbox.shared.redis import keys
from deedbox.shared.redis.embedded import find_server
from tests.bench.processes import HOST, Crew, free_port


@dataclass(frozen=True, slots=True)
class Server:
    """A running Redis."""

    url: str
    client: Redis
    process: subprocess.Popen[bytes]
    directory: Path
    """For whatever else belongs to this Redis; gone with it."""

    def number(self, section: str, name: str) -> int:
        """Return a number of ``INFO``."""
        found = self.client.info(section)
        return int(found[name])

    def counter(self, name: str) -> int:
        """Return one of Deedbox's counters."""
        return int(self.client.hget(keys.COUNTERS, name) or 0)

    def blocked(self) -> int:
        """Return how many clients wait in a blocking read: consumers that are ready for work."""
        return self.number("clients", "blocked_clients")


@contextmanager
def redis_server(crew: Crew, directory: Path) -> Iterator[Server]:
    """Run a Redis for the block; its data are gone afterwards."""
    with TemporaryDirectory(dir=directory) as home:
        port = free_port()
        options = {
            "port": str(port), "bind": HOST, "dir": home, "save": "", "appendonly": "yes",
            "appendfsync": "always", "maxmemory-policy": "noeviction",
            # A rewrite in the middle of one subject's run would be a toss of the dice.
            "auto-aof-rewrite-percentage": "0",
        }  # fmt: skip
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        process = crew.spawn((str(find_server().path), *flags))
        url = f"redis://{HOST}:{port}/0"
        client = Redis.from_url(url, socket_timeout=20)
        try:
            crew.wait_for("redis-server", lambda: _answers(client))
            yield Server(url, client, process, Path(home))
        finally:
            client.close()
            crew.stop(process)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False
