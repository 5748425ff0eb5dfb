"""From signature requests to a delivery schedule: duplicates, disorder, forgeries, account plus app deliveries.

Pure and seeded: the same requests, policy and seed give the same schedule.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from deedbox.shared.core.routing import DEFAULT_RANK, RANKS
from deedbox.shared.simulator.lifecycle import Account, SimulatedCallback, SimulatedRequest

FORGER_API_KEY: Final = "f" * 64
"""Signs bad-signature deliveries, header included: no tenant may have it."""


class DeliveryKind(StrEnum):
    """Why a delivery is in the schedule."""

    FIRST = "first"
    DUPLICATE = "duplicate"
    APP = "app"
    BAD_SIGNATURE = "bad_signature"


@dataclass(frozen=True, slots=True)
class TrafficPolicy:
    """How deliveries differ from the honest order. Rates are shares of the callbacks, 0..1; times are seconds."""

    duration_s: float = 10.0
    """The callbacks are spread evenly over this long; delays come on top."""
    rate_per_s: float | None = None
    """If given, callbacks per second; ``duration_s`` is then ignored."""
    duplicate_rate: float = 0.1
    duplicate_delay_mean_s: float = 1.0
    disorder_rate: float = 0.3
    """Share of callbacks whose first delivery is delayed, exponentially distributed."""
    disorder_delay_mean_s: float = 3.0
    bad_signature_rate: float = 0.02
    app_rate: float = 0.1
    """Share of callbacks that the account's app gets as well."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST to make: ``at_s`` seconds after the start."""

    at_s: float
    callback: SimulatedCallback
    kind: DeliveryKind
    delay_s: float = 0.0
    """How much later than in order; already in ``at_s``."""


def schedule(
    requests: Iterable[SimulatedRequest], account: Account, rng: random.Random, policy: TrafficPolicy
) -> list[Delivery]:
    """Return the deliveries by ``at_s``. Without disorder, first deliveries come in the order of event time."""
    callbacks = sorted((c for request in requests for c in request.callbacks), key=_global_order)
    step_s = _step_s(len(callbacks), policy)
    deliveries: list[Delivery] = []
    for index, callback in enumerate(callbacks):
        deliveries += _deliveries(index * step_s, callback, account, rng, policy)
    return sorted(deliveries, key=lambda delivery: delivery.at_s)


def _global_order(callback: SimulatedCallback) -> tuple[int, int, str, int]:
    rank = RANKS.get(callback.event_type, DEFAULT_RANK)
    return (callback.event_time, rank, callback.signature_request_id, callback.sequence_number)


def _step_s(count: int, policy: TrafficPolicy) -> float:
    if policy.rate_per_s is not None:
        return 1 / policy.rate_per_s
    return policy.duration_s / max(count, 1)


def _deliveries(
    at_s: float, callback: SimulatedCallback, account: Account, rng: random.Random, policy: TrafficPolicy
) -> list[Delivery]:
    delayed = rng.random() < policy.disorder_rate
    delay_s = rng.expovariate(1.0) * policy.disorder_delay_mean_s if delayed else 0.0
    first_at_s = at_s + delay_s
    deliveries = [Delivery(first_at_s, callback, DeliveryKind.FIRST, delay_s)]
    if rng.random() < policy.duplicate_rate:
        again_s = first_at_s + rng.expovariate(1.0) * policy.duplicate_delay_mean_s
        deliveries.append(Delivery(again_s, callback, DeliveryKind.DUPLICATE))
    if rng.random() < policy.app_rate:
        reported = callback.for_app(account.client_id)
        # Not delayed: the app's delivery of a delayed callback often overtakes the account's.
        deliveries.append(Delivery(at_s + rng.uniform(0, 0.2), reported, DeliveryKind.APP))
    if rng.random() < policy.bad_signature_rate:
        forged = callback.forged(FORGER_API_KEY)
        deliveries.append(Delivery(at_s + rng.uniform(0, 0.2), forged, DeliveryKind.BAD_SIGNATURE))
    return deliveries
