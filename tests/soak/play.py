"""Plays a scenario against a deployment under faults, waits until everything has settled, and writes down what each side knows."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import urllib3
from redis import Redis
from redis.exceptions import RedisError

from deedbox.ops.demo.evidence import (
    SOURCE,
    hash_documents,
    identify_callback,
    lines_of,
    read_record,
    read_traces,
    waiting,
)
from deedbox.ops.demo.scenario import LADDER_SCALE, Scenario
from deedbox.shared.broker import amqp_broker
from deedbox.shared.core.errors import SettingsError
from deedbox.shared.core.identity import Fact
from deedbox.shared.redis import connections, keys
from deedbox.shared.settings import Settings
from deedbox.shared.simulator.api_state import FilesApiPolicy
from deedbox.shared.simulator.files_api import FilesApi
from deedbox.shared.simulator.ledger import DeliveryOutcome, Ledger
from deedbox.shared.simulator.lifecycle import SimulatedFact
from deedbox.shared.simulator.player import Player, PlayerPolicy
from deedbox.shared.simulator.story import Ending
from tests.soak.killer import Killer, Target
from tests.soak.plan import Kill, Options, percentile
from tests.support.brokers import connect

SETTLES_WITHIN_S: Final = 150.0
_FILES_API: Final = FilesApiPolicy(
    not_ready_max=1, calls_per_window=1_000_000, file_calls_per_window=1_000_000, window_s=1
)
"""No rate limit: at this rate of documents it would stand in the foreground, and a soak is about crashes."""


class CountingPlayer(Player):
    """Counts what every single attempt was answered."""

    statuses: Counter[str]

    def _post(
        self, connections: urllib3.PoolManager, headers: Mapping[str, str], body: bytes
    ) -> tuple[int | None, bytes]:
        status, answer = super()._post(connections, headers, body)
        self.statuses[str(status)] += (
            1  # threads: a lost count would not matter, and the lock of CPython prevents it
        )
        return status, answer


class Playground(Target, Protocol):
    """A deployment that a soak plays against."""

    record: Path
    """What the recording action wrote."""
    settings: Settings
    """As the sender's host sees it."""
    url: str
    """Where callbacks are sent to."""
    api_host: str
    api_port: int
    """Where the simulated API listens."""
    amqp_url: str | None
    """RabbitMQ, where it is the broker."""

    def wait_until_ready(self) -> None:
        """Wait until everything has started."""


class Soak:
    """One run."""

    def __init__(
        self, options: Options, scenario: Scenario, stage: Playground, kills: Sequence[Kill]
    ) -> None:
        self._options, self._scenario, self._stage, self._kills = options, scenario, stage, kills
        self._facts: dict[SimulatedFact, Fact] = {}

    def run(self) -> None:
        """Play and kill, wait, and write the evidence."""
        files_api = FilesApi(self._scenario.account, _FILES_API, host=self._stage.api_host)
        files_api.start(self._stage.api_port)
        try:
            self._stage.wait_until_ready()
            player = self._player(files_api.advance)
            ledger = self._play(player)
            documents = {
                request.signature_request_id: files_api.sha256_of(request.signature_request_id)
                for request in self._scenario.requests
                if request.ending is Ending.COMPLETED
            }
            self._write_sent(ledger, player.statuses, documents)
            unfinished = self._settle(ledger, documents)
            self._write_state(unfinished)
        finally:
            files_api.stop()

    def _player(self, on_occurred: Any) -> CountingPlayer:
        policy = PlayerPolicy(ladder_scale=LADDER_SCALE, timeout_s=10)
        player = CountingPlayer(
            self._stage.url,
            self._scenario.account.api_key,
            policy,
            on_occurred=on_occurred,
        )
        player.statuses = Counter()
        return player

    def _play(self, player: Player) -> Ledger:
        stop = threading.Event()
        killer = Killer(self._stage, self._kills, stop)
        killer.start()
        try:
            return player.play(self._scenario.deliveries, stop)
        finally:
            killer.join()

    def _write_sent(self, ledger: Ledger, statuses: Counter[str], documents: Mapping[str, str]) -> None:
        callbacks = {each.fact: each for request in self._scenario.requests for each in request.callbacks}
        acks = Counter(
            record.delivery.callback.fact
            for record in ledger.records
            if record.outcome is DeliveryOutcome.ACKED
        )
        self._facts = {fact: identify_callback(callbacks[fact]) for fact in acks}
        counts, latencies_s = ledger.counts(), ledger.latencies_s()
        self._write("sent", {
            "seconds": self._options.seconds, "seed": self._options.seed, "rabbitmq": self._options.rabbitmq,
            "replicas": self._options.replicas,
            "duration_s": ledger.duration_s,
            "callbacks": counts.planned, "attempts": counts.attempts, "acked": counts.acked,
            "refused": counts.refused, "forgeries_acked": counts.forgeries_acked, "given_up": counts.failed,
            "statuses": dict(statuses),
            "ack_p50_ms": 1000 * percentile(latencies_s, 0.5), "ack_p99_ms": 1000 * percentile(latencies_s, 0.99),
            "facts": [[*fact, self._facts[fact].fingerprint, acks[fact]] for fact in acks],
            "documents": documents,
        })  # fmt: skip

    def _settle(self, ledger: Ledger, documents: Mapping[str, str]) -> str:
        """Wait until nothing is under way; tell what still is when the patience is over."""
        deadline = time.monotonic() + SETTLES_WITHIN_S
        while under_way := self._under_way(ledger.counts().acked, documents):
            if time.monotonic() > deadline:
                return under_way
            time.sleep(0.5)
        return ""

    def _under_way(self, acked: int, documents: Mapping[str, str]) -> str:
        recorded = {call.fact for call in read_record(self._stage.record)}
        stored = hash_documents(self._stage.settings.data_dir / "documents" / SOURCE)
        try:
            with self._redis() as redis:
                stages = waiting(redis)
                arrived = int(redis.hget(keys.COUNTERS, "arrived") or 0)
        except (RedisError, SettingsError):
            return "Redis does not answer"
        found = {
            **stages,
            "acknowledged but not at the action": len(self._facts.keys() - recorded),
            "acknowledged but not arrived": max(0, acked - arrived),
            "documents to come": len(documents.keys() - stored.keys()),
            "at RabbitMQ": self._depth(),
        }
        return ", ".join(f"{count} {what}" for what, count in found.items() if count)

    def _depth(self) -> int:
        if self._stage.amqp_url is None:
            return 0
        with connect(self._stage.amqp_url) as connection:
            queue = amqp_broker.raw_queue()(connection.default_channel)
            return int(queue.queue_declare(passive=True).message_count)

    def _redis(self) -> Redis:
        return connections.brisk_redis(connections.redis_address(self._stage.settings))

    def _write_state(self, unfinished: str) -> None:
        streams = sorted({fact.stream for fact in self._facts.values()})
        with self._redis() as redis:
            traces = read_traces(redis, streams, self._facts.values())
            released: Counter[str] = Counter()
            for stream in streams:
                for row in lines_of(redis, stream):
                    released[row["event"]] += row["kind"] in {"released", "late"}
        self._write("state", {
            "unfinished": unfinished, "counters": traces.counters, "dead": traces.dead,
            "forgotten": traces.forgotten, "timeline": traces.timeline, "released": released,
        })  # fmt: skip

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        (self._options.folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
