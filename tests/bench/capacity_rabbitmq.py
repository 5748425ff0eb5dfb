"""RabbitMQ's figures: a node of its own, the raw quorum queue as Deedbox declares it, publisher confirms on.

One node, so a quorum of one: every further member costs the same disk and memory again on its own machine, and a
confirm waits for the network between them. Memory is the growth of the Erlang machine's resident set, the disk that of
its data directory, which also holds the write-ahead log that segments have not replaced yet: both are rough.
"""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Final

import psutil

from deedbox.shared.broker.port import Broker
from deedbox.shared.core.identity import SHARDS
from deedbox.shared.redis import keys
from tests.bench import shapes, subjects
from tests.bench.figures import Figure
from tests.bench.processes import Crew, cpu_s, python
from tests.bench.redis_server import Server, redis_server
from tests.bench.spread import spread
from tests.support.brokers import broker_at
from tests.support.rabbitmq import RabbitServer

COMMAND: Final = "python -m tests.bench.capacity"

SINGLE: Final = 1_000
"""Publishes one by one, each waiting for its confirm."""

BATCH: Final = 64
"""Publishes that share a wait for confirms, as the batches of ingress and the drain of the spool do."""

ROUNDS: Final = 3
LIMIT_S: Final = 60.0


def measure_rabbitmq(crew: Crew, directory: Path, amount: int) -> list[Figure]:
    """Measure publishing, what waits, and consuming. Raises BenchError, TimeoutError."""
    node = RabbitServer(directory / "rabbitmq")
    try:
        node.start()
        publisher = broker_at(node.url, limit=1)
        try:
            publisher.publish(next(shapes.lives()))
            single = _publish(publisher, SINGLE, 1)
            before = _size(node, directory)
            batched = spread([_publish(publisher, amount // ROUNDS, BATCH) for _ in range(ROUNDS)])
            after = _size(node, directory)
        finally:
            publisher.close()
        filled = amount // ROUNDS * ROUNDS
        consumed = _consume(crew, directory, node, 1 + SINGLE + filled)
    finally:
        node.close()
    unit = "per waiting callback, one member of the quorum"
    return [
        Figure("RabbitMQ: publish one by one", single, "callbacks/s of one thread, each confirmed", COMMAND),
        Figure(
            f"RabbitMQ: publish by {BATCH}",
            batched.median,
            "callbacks/s of one thread, confirmed together",
            COMMAND,
        ),
        Figure("RabbitMQ: disk", (after[0] - before[0]) / filled, f"bytes of disk {unit}", COMMAND),
        Figure("RabbitMQ: memory", (after[1] - before[1]) / filled, f"bytes of memory {unit}", COMMAND),
        *consumed,
    ]


def _publish(publisher: Broker, amount: int, batch: int) -> float:
    """Publish callbacks; returns how many per second."""
    envelopes = list(islice(shapes.lives(), amount))
    begun = time.perf_counter()
    for first in range(0, amount, batch):
        if batch == 1:
            publisher.publish(envelopes[first])
        else:
            publisher.publish_many(envelopes[first : first + batch])
    return amount / (time.perf_counter() - begun)


def _size(node: RabbitServer, directory: Path) -> tuple[int, int]:
    """Return bytes on the disk and in memory."""
    files = [path for path in (directory / "rabbitmq").rglob("*") if path.is_file()]
    return sum(path.stat().st_blocks * 512 for path in files), psutil.Process(node.pid).memory_info().rss


def _consume(crew: Crew, directory: Path, node: RabbitServer, amount: int) -> list[Figure]:
    """Let a bridge move everything into the inbox of a Redis."""
    with redis_server(crew, directory) as redis:
        settings = subjects.deedbox_environment(redis) | {"DEEDBOX_BROKER_URL": node.url}
        bridge = crew.spawn(python("-m", "deedbox.workers", "bridge"), settings)
        try:
            crew.wait_for("bridge of RabbitMQ", lambda: _inbox(redis) > 0, LIMIT_S, pause_s=0.01)
            first, begun = _inbox(redis), time.monotonic()
            spent = cpu_s(bridge), psutil.Process(node.pid).cpu_times(), cpu_s(redis.process)
            crew.wait_for("bridge of RabbitMQ", lambda: _inbox(redis) >= amount, LIMIT_S, pause_s=0.01)
            took_s = time.monotonic() - begun
            moved = _inbox(redis) - first
            broker = sum(psutil.Process(node.pid).cpu_times()[:2]) - sum(spent[1][:2])
            ours = cpu_s(bridge) - spent[0] + cpu_s(redis.process) - spent[2]
        finally:
            crew.stop(bridge)
    return [
        Figure("RabbitMQ: consume", moved / took_s, "callbacks/s of one bridge, into the inbox", COMMAND),
        Figure(
            "RabbitMQ: bridge CPU",
            ours / moved * 1000,
            "CPU s per 1,000 callbacks, Redis included",
            COMMAND,
            3,
        ),
        Figure(
            "RabbitMQ: broker CPU",
            broker / moved * 1000,
            "CPU s of RabbitMQ per 1,000 callbacks consumed",
            COMMAND,
            3,
        ),
    ]


def _inbox(redis: Server) -> int:
    pipeline = redis.client.pipeline(transaction=False)
    for shard in range(SHARDS):
        pipeline.llen(keys.inbox(shard))
    return sum(pipeline.execute())
