"""Measures what a failover loses of what was acknowledged: ``python -m tests.component.sentinel.partition``.

Partition: the master and its clients on one side; the sentinels and a replica, which they elect, on the other. The
clients keep their connections to the master, which is the worst case: a new one would need a sentinel.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from deedbox.shared.broker.message import decode_kombu
from deedbox.shared.broker.port import Broker
from deedbox.shared.core.errors import Unavailable
from deedbox.shared.redis import keys
from tests.component.sentinel.cluster import PASSWORD, Cluster
from tests.component.sentinel.links import Link
from tests.component.workers.rig import envelope, sent
from tests.component.workers.server import until
from tests.support.brokers import broker_at

THREADS = 4
PAUSE_S = 0.005
BEFORE_S = 1.0


@dataclass(frozen=True)
class Scenario:
    """What happens to which cluster."""

    event: str
    """``partition``, ``planned`` (SENTINEL FAILOVER) or ``killed``."""
    far: int
    """Replicas with the sentinels."""
    near: int
    """Replicas with the master."""
    wait: int
    """DEEDBOX_REDIS_WAIT_REPLICAS."""
    min_replicas: int = 0
    """``min-replicas-to-write``, with a ``min-replicas-max-lag`` of 2 s."""


SCENARIOS = (
    Scenario("killed", 1, 0, 0), Scenario("killed", 1, 0, 1),
    Scenario("planned", 1, 0, 0), Scenario("planned", 1, 0, 1),
    Scenario("partition", 1, 0, 0), Scenario("partition", 1, 0, 0, min_replicas=1), Scenario("partition", 1, 0, 1),
    Scenario("partition", 1, 1, 1), Scenario("partition", 1, 1, 2),
)  # fmt: skip


class Senders:
    """Threads that publish callbacks, and remember which ones the publisher called durable."""

    def __init__(self, publisher: Broker) -> None:
        self._publisher = publisher
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(name,)) for name in range(THREADS)]
        self.acknowledged: set[bytes] = set()
        self.refused = 0
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send nothing more."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, name: int) -> None:
        number = 0
        while not self._stop.wait(PAUSE_S):
            number += 1
            callback = envelope(sent(0, f"{name}-{number}"))
            try:
                self._publisher.publish(callback)
            except Unavailable:
                self.refused += 1
            else:
                self.acknowledged.add(callback.body)


class Stage:
    """A cluster of which the first servers are on the master's side, and the links between the sides."""

    def __init__(self, folder: Path, scenario: Scenario, stack: ExitStack) -> None:
        self.cluster = Cluster(folder, scenario.near + scenario.far)
        stack.callback(self.cluster.close)
        self.master, *replicas = self.cluster.servers
        near, self.far = replicas[: scenario.near], replicas[scenario.near :]
        self.links = [Link(self.master.port), Link(self.master.port), *(Link(server.port) for server in near)]
        for link in self.links:
            stack.callback(link.close)
        to_replicas, to_sentinels, *to_near = self.links
        limits = ("--min-replicas-to-write", str(scenario.min_replicas), "--min-replicas-max-lag", "2")
        self.master.start(*limits)
        for server, link in zip(near, to_near, strict=True):
            # The sentinels find it behind the link, too.
            announced = ("--replica-announce-port", str(link.port))
            server.start("--replicaof", "127.0.0.1", str(self.master.port), *announced)
        for server in self.far:
            server.start("--replicaof", "127.0.0.1", str(to_replicas.port))
        self.cluster.until_replicated(len(replicas))
        self.cluster.watch(to_sentinels.port)

    def happen(self, scenario: Scenario, seconds: float) -> None:
        """Let it happen, for so long; on return another server is master and everything is whole."""
        ends_at = time.monotonic() + seconds
        if scenario.event == "planned":
            with self.cluster.sentinels[0].client() as client:
                client.execute_command("SENTINEL", "FAILOVER", "sign")
        elif scenario.event == "killed":
            self.master.kill()
        else:
            for link in self.links:
                link.cut()
        until(self._elected, "another master is elected")
        time.sleep(max(0.0, ends_at - time.monotonic()))
        for link in self.links:
            link.heal()

    def present(self) -> set[bytes]:
        """Return the callbacks that the new master has, once the old one follows it (if it lives)."""
        if self.master.alive():
            until(lambda: self.master.info().get("role") == "slave", "the old master follows the new one")
        elected = until(self._elected, "a master is elected")
        with elected.client() as client:
            messages = cast("list[bytes]", client.lrange(keys.RAW_QUEUE, 0, -1))
        return {decode_kombu(message)[1] for message in messages}

    def _elected(self) -> object:
        return next((server for server in self.far if server.info().get("role") == "master"), None)


def measure(scenario: Scenario, seconds: float) -> tuple[int, int, int]:
    """Return how many callbacks were acknowledged, lost of those, and refused (in production: spooled)."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stage = Stage(folder, scenario, stack)
        login = PASSWORD.replace("/", "%2F")
        publisher = broker_at(f"redis://:{login}@127.0.0.1:{stage.master.port}/0", THREADS, scenario.wait)
        stack.callback(publisher.close)
        senders = Senders(publisher)
        stack.callback(senders.stop)
        time.sleep(BEFORE_S)
        stage.happen(scenario, seconds)
        senders.stop()
        lost = senders.acknowledged - stage.present()
        return len(senders.acknowledged), len(lost), senders.refused


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all scenarios and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of the partition (default 8)")
    seconds = parser.parse_args(argv).seconds
    sys.stdout.write(
        "| what happens | replicas with the master | with the sentinels | WAIT | min-replicas | acknowledged | lost | refused |\n"
    )
    sys.stdout.write("|---|---|---|---|---|---|---|---|\n")
    for each in SCENARIOS:
        figures = measure(each, seconds)
        row = (each.event, each.near, each.far, each.wait, each.min_replicas, *figures)
        sys.stdout.write("| " + " | ".join(map(str, row)) + " |\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
