"""A spool on a real disk, a broker that does what it is told, and a Redis that can be killed and started again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import redis

from deedbox.ingress.spool.drain import Drainer
from deedbox.ingress.spool.folder import SpoolDir
from deedbox.ingress.spool.usage import Gauge
from deedbox.ingress.spool.writer import Spool
from deedbox.shared import codec
from deedbox.shared.broker.message import decode_kombu
from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.redis import keys
from deedbox.shared.redis.embedded import free_port
from tests.component.ingress.conftest import listens, redis_binary, stop, wait_until

GIB = 1024 * 1024 * 1024


def numbered(number: int, size_bytes: int = 0) -> Envelope:
    body = json.dumps({"n": number, "pad": "x" * size_bytes}).encode()
    return Envelope("default", 1000.0 + number, BodySignature.ABSENT, "a" * 32, body)


def number_of(envelope: Envelope) -> int:
    return int(json.loads(codec.body_of(envelope))["n"])


ENTRY_BYTES = len(numbered(1).pack())
"""Of a callback whose number has one digit."""


def spooled(data_dir: Path, numbers: Sequence[int]) -> SpoolDir:
    """Spool these callbacks as a process would that then ends."""
    folder = SpoolDir(data_dir)
    spool = Spool(folder, GIB)
    for number in numbers:
        spool.append(numbered(number), 5)
    spool.close()
    return folder


def left(folder: SpoolDir) -> int:
    """Return how many callbacks are in a spool."""
    gauge = Gauge(folder)
    try:
        return gauge.usage().callbacks
    finally:
        gauge.close()


@dataclass
class Obedient:
    """A broker in memory that refuses what it is told to refuse."""

    taken: list[int] = field(default_factory=list)
    refuses: set[int] = field(default_factory=set)
    """Numbers that fail like an outage, whatever the state of the broker."""
    down: bool = False
    dies_after: int | None = None
    """It takes so many callbacks and then nothing."""

    def publish(self, envelope: Envelope) -> None:
        number = number_of(envelope)
        if self.down or number in self.refuses or self.dies_after == 0:
            raise Unavailable("the broker did not confirm (test)")
        if self.dies_after is not None:
            self.dies_after -= 1
        self.taken.append(number)

    def publish_many(self, envelopes: Sequence[Envelope]) -> None:
        for envelope in envelopes:
            self.publish(envelope)


@dataclass
class MortalRedis:
    """A Redis with ``appendfsync always`` that survives its death on the disk."""

    folder: Path
    port: int = field(default_factory=free_port)
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        binary = redis_binary()
        assert binary is not None
        self.process = subprocess.Popen(
            [
                *(binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
                *("--appendonly", "yes", "--appendfsync", "always", *self.options),
            ],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
        )
        wait_until(lambda: listens(self.port))
        with self.client() as client:
            wait_until(lambda: answers(client))

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process)

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def numbers(self) -> list[int]:
        """Return the numbers of all callbacks in the broker, in the order of their arrival."""
        with self.client() as client:
            messages = client.lrange(keys.RAW_QUEUE, 0, -1)
        assert isinstance(messages, list)
        return [number_of(Envelope.from_headers(*decode_kombu(message))) for message in reversed(messages)]


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:  # it loads its file
        return False


def drained(folder: SpoolDir) -> list[int]:
    """Drain a spool into a broker that takes everything; return what it took."""
    broker = Obedient()
    drainer = Drainer(folder, broker)
    found = drainer.drain()
    drainer.close()
    assert (found.trouble, found.unreadable) == (None, None)
    return broker.taken
