"""What a delivery schedule contains."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from deedbox.shared.simulator.lifecycle import Account, SimulatedCallback
from deedbox.shared.simulator.traffic import Delivery, DeliveryKind, TrafficPolicy, schedule
from tests.unit.simulator.conftest import Make

QUIET = TrafficPolicy(duplicate_rate=0, disorder_rate=0, bad_signature_rate=0, app_rate=0)


@pytest.fixture
def busy(make: Make, account: Account) -> list[Delivery]:
    return schedule(make(100), account, random.Random(2), TrafficPolicy())


def first_deliveries(deliveries: list[Delivery]) -> list[SimulatedCallback]:
    return [delivery.callback for delivery in deliveries if delivery.kind is DeliveryKind.FIRST]


def test_the_same_seed_gives_the_same_schedule(make: Make, account: Account) -> None:
    first, second = (schedule(make(30), account, random.Random(4), TrafficPolicy()) for _ in range(2))
    assert first == second
    assert first != schedule(make(30), account, random.Random(5), TrafficPolicy())


def test_every_callback_is_delivered(busy: list[Delivery], make: Make) -> None:
    planned = [callback.fact for request in make(100) for callback in request.callbacks]
    assert Counter(callback.fact for callback in first_deliveries(busy)) == Counter(planned)


def test_without_disorder_callbacks_come_in_order(make: Make, account: Account) -> None:
    deliveries = schedule(make(50), account, random.Random(2), QUIET)
    assert [d.callback.event_time for d in deliveries] == sorted(d.callback.event_time for d in deliveries)
    next_number: Counter[str] = Counter()
    for delivery in deliveries:
        assert delivery.callback.sequence_number == next_number[delivery.callback.signature_request_id]
        next_number[delivery.callback.signature_request_id] += 1


def test_disorder_moves_some_callbacks_behind_later_ones(busy: list[Delivery]) -> None:
    numbers: dict[str, list[int]] = {}
    for callback in first_deliveries(busy):
        numbers.setdefault(callback.signature_request_id, []).append(callback.sequence_number)
    assert any(order != sorted(order) for order in numbers.values())


def test_a_busy_schedule_has_every_kind_of_delivery(busy: list[Delivery]) -> None:
    assert {delivery.kind for delivery in busy} == set(DeliveryKind)


def test_a_duplicate_repeats_the_bytes_of_its_first_delivery(busy: list[Delivery]) -> None:
    firsts = {callback.json_text for callback in first_deliveries(busy)}
    duplicates = [d.callback.json_text for d in busy if d.kind is DeliveryKind.DUPLICATE]
    assert duplicates
    assert firsts.issuperset(duplicates)


def test_a_rate_spreads_the_callbacks_evenly(make: Make, account: Account) -> None:
    policy = TrafficPolicy(
        rate_per_s=100, duplicate_rate=0, disorder_rate=0, bad_signature_rate=0, app_rate=0
    )
    times = [delivery.at_s for delivery in schedule(make(10), account, random.Random(2), policy)]
    assert times == [pytest.approx(index / 100) for index in range(len(times))]


def test_no_requests_make_an_empty_schedule(account: Account) -> None:
    assert schedule([], account, random.Random(1), TrafficPolicy()) == []
