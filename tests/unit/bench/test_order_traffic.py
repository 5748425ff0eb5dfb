"""The traffic of the order comparison."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from deedbox.shared.simulator import story
from tests.bench.ordering.traffic import (
    PACES,
    RETRY_AFTER_S,
    STRENGTHS,
    TRANSIT_S,
    Disorder,
    Kind,
    Pace,
    incoming,
    lives,
    streams,
)

REQUESTS = 60
PROMPT = Disorder("not at all", 0.0, 1.0)
MINUTES = PACES[1]


@pytest.mark.parametrize("pace", PACES, ids=lambda pace: pace.name)
def test_provable_lives_hold_nothing_that_no_snapshot_proves(pace: Pace) -> None:
    for life in lives(Kind.PROVABLE, pace, REQUESTS):
        counted = Counter((each.event_type, each.related_signature_id) for each in life.callbacks)
        assert set(counted.values()) == {1}
        types = {each.event_type for each in life.callbacks}
        assert types == {story.SENT, story.VIEWED, story.SIGNED, story.ALL_SIGNED, story.DOWNLOADABLE}


def test_each_event_of_a_provable_life_proves_everything_before_it_but_early_copies() -> None:
    for life in lives(Kind.PROVABLE, MINUTES, REQUESTS):
        for place, arrival in enumerate(life.arrivals):
            assert {proof.name for proof in arrival.proofs} == {
                each.satisfies for each in life.arrivals[:place]
            }


def test_mixed_lives_have_reminders_repeated_views_declines_cancellations_and_resends() -> None:
    found = lives(Kind.MIXED, MINUTES, REQUESTS)
    types = Counter(each.event_type for life in found for each in life.callbacks)
    assert {story.REMIND, story.DECLINED, story.CANCELED} <= set(types)
    assert types[story.SENT] > len(found), "some were sent a second time"
    views = [
        Counter(each.related_signature_id for each in life.callbacks if each.event_type == story.VIEWED)
        for life in found
    ]
    assert any(count > 1 for counted in views for count in counted.values())


@pytest.mark.parametrize("kind", Kind)
def test_a_life_is_told_in_order_and_each_callback_is_a_fact_of_its_own(kind: Kind) -> None:
    for life in lives(kind, MINUTES, REQUESTS):
        assert all(one.position < two.position for one, two in pairwise(life.arrivals))
        assert len({each.fingerprint for each in life.arrivals}) == len(life.arrivals)


def test_the_same_seed_gives_the_same_deliveries() -> None:
    first, second = (streams(lives(Kind.MIXED, MINUTES, 5), STRENGTHS[1]) for _ in range(2))
    assert first == second
    assert first != streams(lives(Kind.MIXED, MINUTES, 5), STRENGTHS[1], seed=2)


@pytest.mark.parametrize("strength", STRENGTHS, ids=lambda strength: strength.name)
def test_every_fact_arrives_in_order_of_arrival_and_never_before_it_happened(strength: Disorder) -> None:
    found = lives(Kind.MIXED, MINUTES, REQUESTS)
    for life, stream in zip(found, streams(found, strength), strict=True):
        assert {each.arrival for each in stream} == set(life.arrivals)
        assert all(one.at <= two.at for one, two in pairwise(stream))
        assert all(each.at >= each.arrival.position.time + TRANSIT_S[0] for each in stream)


def test_without_delays_events_of_different_seconds_come_in_order() -> None:
    for life in lives(Kind.PROVABLE, MINUTES, REQUESTS):
        stream = incoming(life, PROMPT, random.Random(1))
        times = [each.arrival.position.time for each in stream]
        assert all(second >= first - 1 for first, second in pairwise(times))


def test_a_retried_callback_comes_minutes_later() -> None:
    always = Disorder("always", 0.0, 1.0, retried_share=1.0)
    (life,) = lives(Kind.PROVABLE, MINUTES, 1)
    for each in incoming(life, always, random.Random(1)):
        assert each.at >= each.arrival.position.time + RETRY_AFTER_S[0]


def test_a_lost_callback_comes_by_no_delivery_and_changes_nothing_else() -> None:
    found = lives(Kind.PROVABLE, MINUTES, REQUESTS)
    facts = sum(len(life.arrivals) for life in found)
    missing = 0
    for whole, lossy in zip(
        streams(found, STRENGTHS[1]), streams(found, STRENGTHS[1], lost_share=0.2), strict=True
    ):
        lost = {each.fingerprint for each in whole} - {each.fingerprint for each in lossy}
        assert lossy == [each for each in whole if each.fingerprint not in lost]
        missing += len(lost)
    assert 0.1 < missing / facts < 0.3
