"""What a soak will do, drawn from its seed: the traffic, and which process is killed when and how."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deedbox.ops.demo.scenario import Scenario
from deedbox.shared.simulator.lifecycle import Account, generate_requests
from deedbox.shared.simulator.story import LifecyclePolicy
from deedbox.shared.simulator.traffic import TrafficPolicy, schedule

CALLBACKS_PER_REQUEST: Final = 7.5
"""Of the simulator's stories, on average, without duplicates."""

SETTLE_S: Final = 2.0
"""Nothing is killed before: a soak starts from a deployment that works."""

KILL_SHARE: Final = 0.7
"""The rest is SIGTERM."""

TARGETS: Final = (
    "web",
    "web-worker",
    "bridge",
    "sequencer",
    "default",
    "documents",
    "sweeper",
    "redis",
    "rabbitmq",
    "replica",
    "log",
    "disk",
    "lane",
)
"""Kinds of processes that are killed; the log, whose reader stalls; the disk, which is full; an action that moves to another lane."""

CUT: Final = "CUT"
"""A host loses every packet; only where there are hosts (``tests/hosts``)."""

OFF: Final = "OFF"
"""Every process of a host is killed, and starts again."""

UPGRADE: Final = "UPGRADE"
"""The processes of a host are restarted with another version."""

CUT_OFF_S: Final = 12.0
"""Longer than a lease."""

WITHOUT_SIGNAL: Final = {"log": "STALL", "disk": "FILL", "lane": "MOVE"}

HANGS: Final = 4
"""Calls that never return, about: each costs its lane some seconds."""

VIEWED_SHARE: Final = 0.25
"""Of the simulator's callbacks."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    seconds: float
    seed: int
    folder: Path
    rate_per_s: float = 50.0
    """Callbacks per second, before duplicates."""
    kill_every_s: float = 2.5
    """Mean time between kills."""
    rabbitmq: bool = False
    """RabbitMQ as the broker, instead of the embedded Redis."""
    replicas: int = 0
    """So many replicas of a Redis that is not embedded; all of them are waited for."""
    small_disk: bool = False
    """The data directory is a file system that other programs fill."""

    @property
    def targets(self) -> list[str]:
        """What there is to hit."""
        there = {"rabbitmq": self.rabbitmq, "replica": self.replicas > 0, "disk": self.small_disk}
        return [name for name in TARGETS if there.get(name, True)]


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill to come."""

    at_s: float
    """After the first callback."""
    target: str
    signal: str
    """KILL or TERM, or what is done instead (``WITHOUT_SIGNAL``, and of hosts ``CUT``, ``OFF`` and ``UPGRADE``)."""


def draw_kills(options: Options) -> list[Kill]:
    """Return the kills, by time."""
    rng = random.Random(f"kills {options.seed}")
    names = options.targets
    kills: list[Kill] = []
    deck: list[str] = []
    at_s = SETTLE_S
    while at_s < options.seconds:
        # A deck, not dice: a short soak, too, hits every kind of process.
        deck = deck or rng.sample(names, len(names))
        target, signal = deck.pop(), "KILL" if rng.random() < KILL_SHARE else "TERM"
        kills.append(Kill(at_s, target, WITHOUT_SIGNAL.get(target, signal)))
        at_s += options.kill_every_s * rng.uniform(0.4, 1.6)
    return kills


def hangs_one_in(options: Options) -> int:
    """Return how many calls there are for each that never returns."""
    return max(1, round(options.seconds * options.rate_per_s * VIEWED_SHARE / HANGS))


def draw_scenario(options: Options) -> Scenario:
    """Return the traffic: all of its events have happened by now."""
    rng = random.Random(options.seed)
    account = Account(api_key=secrets.token_hex(32))
    count = max(1, round(options.seconds * options.rate_per_s / CALLBACKS_PER_REQUEST))
    spread_s = max(10, int(options.seconds))
    begins_at = int(time.time()) - spread_s - LifecyclePolicy(begins_at=0).life_s - 2
    life = LifecyclePolicy(begins_at=begins_at, spread_s=spread_s)
    requests = generate_requests(count, account, rng, life)
    traffic = TrafficPolicy(
        duration_s=options.seconds,
        duplicate_rate=0.15,
        duplicate_delay_mean_s=2.0,
        disorder_rate=0.3,
        disorder_delay_mean_s=1.0,
        bad_signature_rate=0.02,
    )
    return Scenario(options.seed, account, tuple(requests), tuple(schedule(requests, account, rng, traffic)))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return a percentile of sorted values; 0 without any."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
