"""The bridge of RabbitMQ and SQS in a test: run in a thread, or killed in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kombu
from redis import Redis

from deedbox.shared.broker import topology
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.bridge.kombu_bridge import KombuBridge
from tests.component.workers.rig import silent

ROOT = Path(__file__).parents[3]


@contextmanager
def bridging(url: str, state: Redis) -> Iterator[list[kombu.Connection]]:
    """Run a bridge in a thread; lends the connections that it opened."""
    opened: list[kombu.Connection] = []
    stop = threading.Event()

    def connect() -> kombu.Connection:
        opened.append(topology.connect(url, consuming=True))
        return opened[-1]

    bridge = KombuBridge("bridge-1", connect, Scripts(state), silent)
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
from deedbox.shared.broker import topology
from deedbox.shared.redis import inbox
from deedbox.shared.redis.scripting import Scripts
from deedbox.workers.bridge.kombu_bridge import KombuBridge

append, when = inbox.append, sys.argv[3]

def die(*arguments, **more):
    if when == "after":
        append(*arguments, **more)
    os.kill(os.getpid(), signal.SIGKILL)

inbox.append = die
connect = lambda: topology.connect(sys.argv[1], consuming=True)
KombuBridge("killed", connect, Scripts(Redis.from_url(sys.argv[2])), print).run(lambda: False)
"""


def run_until_killed(url: str, redis_url: str, when: str) -> None:
    """Run a bridge that is killed (SIGKILL) ``before`` or ``after`` its first append to the inbox."""
    command = [sys.executable, "-c", _KILLED, url, redis_url, when]
    ended = subprocess.run(command, cwd=ROOT, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
