"""Callbacks from a host of their own, what each attempt was answered, and what arrived at the actions."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3

from deedbox.ops.demo.evidence import RecordedCall
from deedbox.ops.demo.report import dispatched_twice, out_of_order
from deedbox.shared.simulator.ledger import DeliveryOutcome
from deedbox.shared.simulator.lifecycle import Account, generate_requests
from deedbox.shared.simulator.player import Player, PlayerPolicy
from deedbox.shared.simulator.story import LifecyclePolicy
from deedbox.shared.simulator.traffic import Delivery, TrafficPolicy, schedule
from tests.hosts.deployment import API_KEY, Deployment
from tests.hosts.network import Host
from tests.support.waiting import until

if TYPE_CHECKING:
    from deedbox.shared.simulator.lifecycle import SimulatedFact

RATE_PER_S = 20.0
CALLBACKS_PER_REQUEST = 7.5
SETTLES_WITHIN_S = 90.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one attempt was answered."""

    at: float
    """Unix seconds at which it was sent."""
    took_s: float
    status: int | None
    """None: no answer."""


class HostPlayer(Player):
    """Plays from a host, at several addresses in turn, and writes down each answer."""

    answers: list[Answer]
    acknowledged: dict[SimulatedFact, float]
    urls: list[str]
    host: Host

    def _deliver_until_done(self, run: object, connections: urllib3.PoolManager) -> None:
        self.host.enter()
        super()._deliver_until_done(run, connections)  # type: ignore[arg-type]

    def _attempt(self, pending: Any, connections: urllib3.PoolManager) -> Any:
        after, outcome = super()._attempt(pending, connections)
        if outcome is DeliveryOutcome.ACKED:
            self.acknowledged.setdefault(pending.delivery.callback.fact, time.time())
        return after, outcome

    def _post(
        self, connections: urllib3.PoolManager, headers: Mapping[str, str], body: bytes
    ) -> tuple[int | None, bytes]:
        self._url = self.urls[len(self.answers) % len(self.urls)]
        at, started = time.time(), time.monotonic()
        status, answer = super()._post(connections, headers, body)
        self.answers.append(Answer(at, time.monotonic() - started, status))
        return status, answer


@dataclass
class Outcomes:
    """What a run of traffic left behind."""

    answers: list[Answer]
    acknowledged: dict[SimulatedFact, float]
    """When each event was first acknowledged, in unix seconds."""
    calls: list[RecordedCall] = field(default_factory=list)
    call_times: list[float] = field(default_factory=list)
    """Of each call, in unix seconds."""

    @property
    def lost(self) -> set[SimulatedFact]:
        """Acknowledged events that no action got."""
        return self.acknowledged.keys() - {call.fact for call in self.calls}

    @property
    def twice(self) -> int:
        """Events that were dispatched under two idempotency keys."""
        return dispatched_twice(self.calls)

    @property
    def inversions(self) -> int:
        """Calls that came after a later event of their key without being flagged late."""
        first: dict[str, RecordedCall] = {}
        for call in self.calls:
            first.setdefault(call.idempotency_key, call)
        return len(out_of_order(first.values()))

    @property
    def longest_delay_s(self) -> float:
        """Longest time from an event's acknowledgement to its first call."""
        first: dict[SimulatedFact, float] = {}
        for call, at in zip(self.calls, self.call_times, strict=True):
            first.setdefault(call.fact, at)
        return max(first[fact] - at for fact, at in self.acknowledged.items())

    def longest_silence_s(self, since: float, until_: float) -> float:
        """Return the longest time without any call between two unix times."""
        times = [since, *(at for at in sorted(self.call_times) if since < at < until_), until_]
        return max(after - before for before, after in pairwise(times))


def deliveries(seconds: float, seed: int, disorder: float) -> list[Delivery]:
    """Return callbacks of so many seconds, with duplicates; ``disorder`` is the share that comes late."""
    rng = random.Random(seed)
    account = Account(api_key=API_KEY)
    count = max(1, round(seconds * RATE_PER_S / CALLBACKS_PER_REQUEST))
    spread_s = max(10, int(seconds))
    life = LifecyclePolicy(begins_at=0)
    begins_at = int(time.time()) - spread_s - life.life_s - 2
    requests = generate_requests(count, account, rng, LifecyclePolicy(begins_at=begins_at, spread_s=spread_s))
    policy = TrafficPolicy(
        duration_s=seconds,
        duplicate_rate=0.2,
        disorder_rate=disorder,
        disorder_delay_mean_s=0.7,
        bad_signature_rate=0,
    )
    return list(schedule(requests, account, rng, policy))


@contextmanager
def playing(
    deployment: Deployment, urls: list[str], seconds: float, seed: int, disorder: float = 0.3
) -> Iterator[Callable[[], Outcomes]]:
    """Send callbacks while the block runs; it gets a function that waits for the end and returns the outcomes."""
    planned = deliveries(seconds, seed, disorder)
    player = HostPlayer(urls[0], API_KEY, PlayerPolicy(retry_ladder_s=(2.0,) * 12))
    player.answers, player.acknowledged, player.urls, player.host = [], {}, urls, deployment.sender
    stop = threading.Event()
    thread = threading.Thread(target=player.play, args=(planned, stop), name="sender")
    thread.start()

    def finished() -> Outcomes:
        thread.join()
        outcomes = Outcomes(player.answers, player.acknowledged)
        until(
            lambda: not _missing(outcomes, deployment.record),
            "every event came to the action",
            SETTLES_WITHIN_S,
        )
        return outcomes

    try:
        yield finished
    finally:
        stop.set()
        thread.join()


def _missing(outcomes: Outcomes, record: Path) -> set[SimulatedFact]:
    if record.exists():
        lines = [line for line in record.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
        calls = [(RecordedCall.parse(line), float(json.loads(line)["at"])) for line in lines]
        outcomes.calls = [call for call, _ in calls if not call.internal]
        outcomes.call_times = [at for call, at in calls if not call.internal]
    return outcomes.lost
