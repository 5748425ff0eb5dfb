"""Simulated traffic of which callbacks are lost: a reconcile synthesises what the API proves, once each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from redis import Redis

from deedbox.shared.core.gaps import ALL_SIGNED, DOWNLOADABLE, SIGNED, VIEWED
from deedbox.shared.simulator.lifecycle import (
    Account,
    SimulatedCallback,
    SimulatedFact,
    SimulatedRequest,
    generate_requests,
)
from deedbox.shared.simulator.story import Ending, LifecyclePolicy
from tests.component.workers.gaps_desk import API_KEY, SYNTHESISES, GapsDesk, T, gap_desks
from tests.component.workers.server import RedisServer

pytestmark = pytest.mark.real_redis


@pytest.fixture
def desk(redis_server: RedisServer, state: Redis, tmp_path: Path) -> Iterator[GapsDesk]:
    with gap_desks(redis_server.url, state, tmp_path, **SYNTHESISES) as build:
        yield build()


REQUESTS = 24


def name_of(each: SimulatedCallback) -> tuple[str, str]:
    """Name an event by its type and, where a signer has one each, its signer."""
    return (each.event_type, (each.related_signature_id or "") if each.event_type in {VIEWED, SIGNED} else "")


PROVEN = {
    f"signature_request_{name}"
    for name in ("sent", "viewed", "signed", "all_signed", "downloadable", "declined")
}


@pytest.mark.parametrize("seed", [1, 2])
def test_traffic_with_lost_callbacks_runs_every_action_once_for_every_event(
    desk: GapsDesk, seed: int
) -> None:
    """The simulator's traffic; a third of the requests lost everything, and a third some callbacks. Then all of them come."""
    rng = Random(seed)
    policy = LifecyclePolicy(
        begins_at=T - 3600, spread_s=600, life_s=1200, canceled_rate=0, declined_rate=0.2
    )
    requests = generate_requests(REQUESTS, Account(API_KEY), rng, policy)
    share_of = {
        request.signature_request_id: (0, 0.5, 1)[number % 3] for number, request in enumerate(requests)
    }
    came: set[SimulatedFact] = set()
    for request in requests:
        for each in request.callbacks:
            desk.api.advance(each)
        kept = [each for each in request.callbacks if rng.random() < share_of[request.signature_request_id]]
        came.update(each.fact for each in kept)
        desk.deployment.deliver(*(each.json_text for each in kept))
    desk.work_off()
    assert len(desk.seen.calls) == len(came)
    desk.reconcile(*share_of)
    _check(desk, requests, came)
    for request in requests:
        desk.deployment.deliver(*(each.json_text for each in request.callbacks))
    desk.work_off()
    calls = Counter(context.idempotency_key for _, context in desk.seen.calls)
    assert set(calls.values()) == {1}
    _check_once(desk, requests)
    assert desk.deployment.letters() == []


def _check(desk: GapsDesk, requests: Sequence[SimulatedRequest], came: set[SimulatedFact]) -> None:
    """Every proven event that no callback reported was synthesised, once; others not. Where all was lost, all is in order."""
    called = {
        request.signature_request_id: [
            (
                event.type,
                (event.related_signature_id or "") if event.type in {VIEWED, SIGNED} else "",
                event.origin,
            )
            for event, _ in desk.seen.calls
            if event.signature_request_id == request.signature_request_id
        ]
        for request in requests
    }
    for request in requests:
        reported = {name_of(each) for each in request.callbacks if each.fact in came}
        final = {
            name_of(each)
            for each in request.callbacks
            if each.event_type in PROVEN
            and (each.event_type != DOWNLOADABLE or request.ending is Ending.COMPLETED)
        }
        synthesised = Counter(
            name[:2] for name in called[request.signature_request_id] if name[2] == "reconciled"
        )
        assert synthesised == Counter(final - reported)
        if not reported:
            events = [
                event
                for event, _ in desk.seen.calls
                if event.signature_request_id == request.signature_request_id
            ]
            assert [event.time for event in events] == sorted(event.time for event in events)
            assert not any(event.late for event in events)


def _check_once(desk: GapsDesk, requests: Sequence[SimulatedRequest]) -> None:
    """Of what happens once there is one call, whatever came before or after the reconcile."""
    once = {SIGNED, ALL_SIGNED, "signature_request_sent", "signature_request_declined"}
    calls = Counter(
        (event.signature_request_id, event.type, event.related_signature_id or "")
        for event, _ in desk.seen.calls
        if event.type in once
    )
    expected = {
        (request.signature_request_id, each.event_type, each.related_signature_id or "")
        for request in requests
        for each in request.callbacks
        if each.event_type in once
    }
    assert calls == Counter(expected)
