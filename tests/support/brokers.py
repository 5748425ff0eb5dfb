"""A broker from its URL, as the settings would name it, and a bridge in a thread or killed in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kombu
from redis import Redis

from deedbox.shared.broker import address, amqp_broker
from deedbox.shared.broker.address import AmqpAddress, SqsAddress
from deedbox.shared.broker.amqp_broker import AmqpBroker
from deedbox.shared.broker.brokers import open_broker
from deedbox.shared.broker.port import Broker, Consumer
from deedbox.shared.broker.redis_broker import RedisBroker
from deedbox.shared.broker.redis_consumer import RedisConsumer
from deedbox.shared.broker.sqs_broker import SqsBroker
from deedbox.shared.redis.address import RedisAddress
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.bridge.bridge import Bridge, Mover

ROOT = Path(__file__).parents[2]
STATE = RedisAddress((("a server of its own", 1),))
"""Where the callbacks go: another server than the broker."""


def silent(_lane: str) -> None:
    """Ring nobody: the test drains by hand."""


def broker_at(url: str, limit: int = 64, wait_replicas: int = 0) -> Broker:
    """Return the broker of a URL."""
    return open_broker(address.parse(url), limit, wait_replicas)


def connect(url: str) -> kombu.Connection:
    """Return a connection of kombu's, as the broker itself opens it."""
    match where := address.parse(url):
        case AmqpAddress():
            return AmqpBroker(where).connection()
        case SqsAddress():
            return SqsBroker(where).connection()
        case _:
            return RedisBroker(where).connection()


def raw_queue_of(connection: Any) -> Any:
    """Declare RabbitMQ's queues, and return the raw one for a look at its depth."""
    amqp_broker.declare(connection)
    return amqp_broker.raw_queue()(connection.default_channel)


class Claims:
    """A Redis's bridge that moves one batch at a time."""

    def __init__(self, state: Scripts, broker: Scripts | None = None, name: str = "b1") -> None:
        self.consumer = RedisConsumer(broker or state, name, same_redis=broker is None)
        self.mover = Mover(name, name, lambda: self.consumer, state, silent)

    def once(self) -> int:
        """Move one batch. Returns how many were there."""
        return self.mover.once(self.consumer, lambda: True)


@contextmanager
def bridging(
    broker: Broker | str, state: Redis | Scripts, name: str = "bridge-1"
) -> Iterator[list[Consumer]]:
    """Run a bridge in a thread; lends the consumers that it opened."""
    opened: list[Consumer] = []
    stop = threading.Event()
    known = broker_at(broker) if isinstance(broker, str) else broker

    def remembering(opener: Any) -> Any:
        def opens() -> Consumer:
            opened.append(opener())
            return opened[-1]

        return opens

    scripts = state if isinstance(state, Scripts) else Scripts(state)
    bridge = Bridge(name, [remembering(each) for each in known.consumers(name, STATE)], scripts, silent)
    thread = threading.Thread(target=bridge.run, args=(stop.is_set,))
    thread.start()
    try:
        yield opened
    finally:
        stop.set()
        thread.join()


_KILLED = """
import os, signal, sys
from redis import Redis
from deedbox.shared.redis import inbox
from deedbox.shared.redis.address import RedisAddress
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.bridge.bridge import Bridge
from tests.support.brokers import STATE, broker_at

append, when = inbox.append, sys.argv[3]

def die(*arguments, **more):
    if when == "after":
        append(*arguments, **more)
    os.kill(os.getpid(), signal.SIGKILL)

inbox.append = die
openers = broker_at(sys.argv[1]).consumers("killed", STATE)
Bridge("killed", openers, Scripts(Redis.from_url(sys.argv[2])), print).run(lambda: False)
"""


def run_until_killed(url: str, redis_url: str, when: str) -> None:
    """Run a bridge that is killed (SIGKILL) ``before`` or ``after`` its first append to the inbox."""
    command = [sys.executable, "-c", _KILLED, url, redis_url, when]
    ended = subprocess.run(command, cwd=ROOT, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
