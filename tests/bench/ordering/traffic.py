"""Simulated traffic with times of arrival: honest lives of signature requests, through a network that disorders them.

Pure and seeded. A callback leaves the vendor in the second that its ``event_time`` names, those of one request in
order; every delivery of it is delayed by itself. Nothing waits: the times are numbers.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import Final

from deedbox.shared.core.envelope import Envelope
from deedbox.shared.core.ordering import Arrival
from deedbox.shared.core.signature import BodySignature
from deedbox.shared.simulator import story
from deedbox.shared.simulator.lifecycle import Account, SimulatedCallback, SimulatedRequest, generate_requests
from deedbox.shared.simulator.story import LifecyclePolicy
from deedbox.shared.simulator.wire import php_json
from deedbox.workers.sequencer.arrivals import delivered

API_KEY: Final = "ab" * 32
"""Signs every callback of a run; nobody checks it here."""

BEGINS_AT: Final = 1_760_000_000
TRANSIT_S: Final = (0.02, 0.07)
"""What every delivery takes at least: a POST over the Internet."""

RETRY_AFTER_S: Final = (300.0, 900.0, 2700.0)
"""The vendor's first retries."""

FAILS_AGAIN: Final = 0.3
"""Share of the retries that fail as well."""

TAIL: Final = 1.5
"""Shape of the heavy-tailed delays (Pareto): a finite mean, no finite variance."""


class Kind(StrEnum):
    """What the lives consist of."""

    PROVABLE = "provable"
    """Sent, one view and one signature per signer, all_signed, downloadable: what snapshots prove."""
    MIXED = "mixed"
    """With reminders, repeated views, declines, cancellations, intermediate copies and resends."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the lives are."""

    name: str
    life_s: int


PACES: Final = (Pace("seconds", 8), Pace("minutes", 600), Pace("hours", 6 * 3600))
"""The whole request at one table; a contract that people wait for; the usual mail."""


@dataclass(frozen=True, slots=True)
class Disorder:
    """What the way to us does to deliveries."""

    name: str
    share: float
    """Of the deliveries that are delayed."""
    mean_s: float
    heavy_tailed: bool = False
    retried_share: float = 0.0
    """Of the callbacks whose first delivery fails: they come minutes later."""

    def delay_s(self, rng: random.Random) -> float:
        """Draw one delivery's delay."""
        delay_s = rng.uniform(*TRANSIT_S)
        if rng.random() < self.share:
            if self.heavy_tailed:
                delay_s += self.mean_s * (TAIL - 1) / TAIL * rng.paretovariate(TAIL)
            else:
                delay_s += rng.expovariate(1 / self.mean_s)
        return delay_s

    def retry_s(self, rng: random.Random) -> float:
        """Draw how much later the vendor's first delivery that does not fail begins."""
        if rng.random() >= self.retried_share:
            return 0.0
        waited_s = 0.0
        for wait_s in RETRY_AFTER_S:
            waited_s += wait_s
            if rng.random() >= FAILS_AGAIN:
                break
        return waited_s


STRENGTHS: Final = (
    Disorder("each by 0.1 s", 1.0, 0.1),
    Disorder("30 % by 1 s", 0.3, 1.0),
    Disorder("30 % by 5 s", 0.3, 5.0),
    Disorder("30 % by 30 s", 0.3, 30.0),
    Disorder("30 % by 5 s, long tail", 0.3, 5.0, heavy_tailed=True),
    Disorder("3 % retried", 1.0, 0.1, retried_share=0.03),
    Disorder("each by 5 s", 1.0, 5.0),
)
"""From jitter to a way that forgot every order."""

DUPLICATE_RATE: Final = 0.1
DUPLICATE_MEAN_S: Final = 1.0
APP_RATE: Final = 0.1
"""Share of the callbacks that come for the account's app as well; often it overtakes the other."""

RESEND_RATE: Final = 0.3
"""Share of the mixed requests that are sent a second time."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One delivery, as the sequencer sees it: appended to the inbox at ``at`` (unix seconds)."""

    at: float
    arrival: Arrival

    @property
    def fingerprint(self) -> str:
        """Identity of the fact."""
        return self.arrival.fingerprint


@dataclass(frozen=True)
class Life:
    """One signature request: its callbacks in order, and what the sequencer makes of them."""

    callbacks: tuple[SimulatedCallback, ...]

    @cached_property
    def arrivals(self) -> tuple[Arrival, ...]:
        """Reduce each callback with the sequencer's own code."""
        return tuple(arrival_of(callback.json_text) for callback in self.callbacks)


def envelope_of(text: bytes, at: float) -> Envelope:
    """Wrap a callback as ingress does."""
    return Envelope("default", at, BodySignature.VALID, "0" * 32, text)


def arrival_of(text: bytes) -> Arrival:
    """Parse and identify a callback as the sequencer does."""
    return delivered(envelope_of(text, 0.0), 0.0).arrival


def lives(kind: Kind, pace: Pace, count: int, seed: int = 1) -> list[Life]:
    """Draw signature requests. The same arguments give the same lives."""
    rng = random.Random(f"{kind} {pace.name} {seed}")
    requests = generate_requests(count, Account(API_KEY), rng, _policy(kind, pace))
    if kind is Kind.MIXED:
        return [Life(tuple(_resent(request, rng))) for request in requests]
    return [Life(request.callbacks) for request in requests]


def _policy(kind: Kind, pace: Pace) -> LifecyclePolicy:
    policy = LifecyclePolicy(begins_at=BEGINS_AT, spread_s=3600, life_s=pace.life_s)
    if kind is Kind.PROVABLE:
        return replace(
            policy, declined_rate=0, canceled_rate=0, remind_rate=0, second_view_rate=0, intermediate_rate=0
        )
    return replace(
        policy,
        declined_rate=0.15,
        canceled_rate=0.1,
        remind_rate=0.3,
        second_view_rate=0.4,
        intermediate_rate=0.3,
    )


def _resent(request: SimulatedRequest, rng: random.Random) -> Iterator[SimulatedCallback]:
    """Yield a request's callbacks; some requests are sent again somewhere in between, with the snapshot of then."""
    place = rng.randrange(len(request.callbacks)) if rng.random() < RESEND_RATE else None
    for number, callback in enumerate(request.callbacks):
        yield callback
        if number == place and number + 1 < len(request.callbacks):
            # Strictly between two events: a second `sent` of the same second is the same fact on the wire.
            following = request.callbacks[number + 1].event_time
            if following - callback.event_time > 1:
                yield _as_sent(callback, rng.randint(callback.event_time + 1, following - 1))


def _as_sent(callback: SimulatedCallback, at: int) -> SimulatedCallback:
    event = dict(callback.payload["event"]) | {"event_type": story.SENT, "event_time": str(at)}
    event["event_metadata"] = event["event_metadata"] | {"related_signature_id": None}
    payload = dict(callback.payload) | {"event": event}
    return replace(
        callback,
        event_type=story.SENT,
        event_time=at,
        related_signature_id=None,
        payload=payload,
        json_text=php_json(payload),
    )


def incoming(life: Life, disorder: Disorder, rng: random.Random) -> list[Incoming]:
    """Deliver a life: duplicates and app deliveries too, in order of arrival (milliseconds)."""
    found: list[Incoming] = []
    for leaves_at, arrival in zip(_departures(life.callbacks, rng), life.arrivals, strict=True):
        starts = [leaves_at + disorder.retry_s(rng)]
        if rng.random() < DUPLICATE_RATE:
            starts.append(starts[0] + rng.expovariate(1 / DUPLICATE_MEAN_S))
        if rng.random() < APP_RATE:
            starts.append(leaves_at + disorder.retry_s(rng))
        found += [Incoming(round(start + disorder.delay_s(rng), 3), arrival) for start in starts]
    return sorted(found, key=attrgetter("at"))


def _departures(callbacks: Sequence[SimulatedCallback], rng: random.Random) -> Iterator[float]:
    """Yield when each leaves the vendor: within its second, those of one second in order."""
    for second, same in groupby(callbacks, key=attrgetter("event_time")):
        for part in sorted(rng.random() for _ in same):
            yield second + part


def streams(
    found: Iterable[Life], disorder: Disorder, seed: int = 1, lost_share: float = 0.0
) -> list[list[Incoming]]:
    """Deliver all lives through the same disorder, each with its own dice: the same for every policy.

    ``lost_share``: of the callbacks, those of which no delivery comes. The others come as if none were lost.
    """
    return [
        [
            each
            for each in incoming(life, disorder, random.Random(f"{disorder.name} {seed} {number}"))
            if each.fingerprint not in lost
        ]
        for number, life in enumerate(found)
        for lost in [_lost(life, lost_share, random.Random(f"lost {seed} {number}"))]
    ]


def _lost(life: Life, share: float, rng: random.Random) -> set[str]:
    return {arrival.fingerprint for arrival in life.arrivals if rng.random() < share}
