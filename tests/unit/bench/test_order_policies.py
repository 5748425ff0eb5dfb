"""The policies of the order comparison, on deliveries by hand and on simulated traffic."""

from __future__ import annotations

from itertools import pairwise

import pytest

from deedbox.shared.core.ordering import OrderingPolicy
from tests.bench.ordering.cells import BOUNDS_S, SUBJECTS, Policy, Subject
from tests.bench.ordering.measures import inversions
from tests.bench.ordering.policies import Release, deedbox, fixed_wait, hindsight, no_wait
from tests.bench.ordering.traffic import PACES, STRENGTHS, Disorder, Incoming, Kind, Pace, lives, streams
from tests.unit.bench.order_events import event, given_up

REQUESTS = 12
EVERY_STRENGTH = pytest.mark.parametrize("strength", STRENGTHS, ids=lambda strength: strength.name)


def told(releases: list[Release]) -> list[tuple[str, float]]:
    return [(each.position.fingerprint, each.released_at) for each in releases]


def traffic(kind: Kind, strength: Disorder, pace: Pace = PACES[0]) -> list[list[Incoming]]:
    return streams(lives(kind, pace, REQUESTS), strength)


def test_a_fixed_wait_releases_in_order_what_comes_within_it() -> None:
    stream = [event("b", 0.0, 20), event("a", 4.0, 10), event("c", 7.0, 30), event("c", 8.0, 30)]
    # `a` goes when the wait of `b` is over, not 10 s after its own arrival: the repeat of `c` is none of its business.
    assert told(fixed_wait(stream, 10.0)) == [("a", 10.0), ("b", 10.0), ("c", 17.0)]


def test_a_fixed_wait_does_not_bring_back_what_is_gone() -> None:
    stream = [event("b", 0.0, 20), event("a", 10.5, 10), event("c", 11.0, 30)]
    assert told(fixed_wait(stream, 10.0)) == [("b", 10.0), ("a", 20.5), ("c", 21.0)]


def test_what_arrives_at_the_end_of_a_wait_is_in_time() -> None:
    stream = [event("b", 0.0, 20), event("a", 10.0, 10)]
    assert told(fixed_wait(stream, 10.0)) == told(hindsight(stream, 10.0)) == [("a", 10.0), ("b", 10.0)]


def test_without_a_wait_each_fact_goes_out_as_it_comes() -> None:
    stream = [event("b", 0.0, 20), event("a", 4.0, 10), event("b", 5.0, 20)]
    assert told(no_wait(stream)) == [("b", 0.0), ("a", 4.0)]


def test_hindsight_waits_for_nothing_but_what_comes_in_time() -> None:
    stream = [event("c", 0.0, 30), event("b", 3.0, 20), event("d", 4.0, 40), event("a", 11.0, 10)]
    assert told(hindsight(stream, 5.0)) == [("b", 3.0), ("c", 3.0), ("d", 4.0), ("a", 11.0)]
    assert told(hindsight(stream, 7.0)) == [("b", 3.0), ("c", 3.0), ("a", 11.0), ("d", 11.0)]


def test_a_later_second_waits_again_for_what_was_given_up_as_under_a_fixed_wait() -> None:
    """By position, `signed` is behind under both. By event_time, it is in order under both."""
    ours, fixed = deedbox(given_up(), OrderingPolicy(hold_s=10)), fixed_wait(given_up(), 10.0)
    assert told(ours) == [("all_signed", 110.0), ("signed", 125.0), ("downloadable", 125.0)]
    assert told(fixed) == [("all_signed", 110.0), ("signed", 130.0), ("downloadable", 130.0)]
    assert [late(releases) for releases in (ours, fixed)] == [{"signed"}, {"signed"}]


@EVERY_STRENGTH
@pytest.mark.parametrize("pace", PACES, ids=lambda pace: pace.name)
@pytest.mark.parametrize("bound_s", BOUNDS_S)
def test_no_more_events_are_inverted_than_under_a_fixed_wait_also_if_callbacks_are_lost(
    strength: Disorder, pace: Pace, bound_s: float
) -> None:
    for stream in streams(lives(Kind.PROVABLE, pace, REQUESTS), strength, lost_share=0.05):
        ours, fixed = (
            inversions(each.event_time for each in SUBJECTS[Subject(policy, bound_s)](stream)).events
            for policy in (Policy.DEEDBOX, Policy.FIXED)
        )
        assert ours <= fixed


def late(releases: list[Release]) -> set[str]:
    """Name what came out behind a greater position."""
    return {
        each.position.fingerprint
        for place, each in enumerate(releases)
        if any(before.position > each.position for before in releases[:place])
    }


@EVERY_STRENGTH
@pytest.mark.parametrize("kind", Kind)
def test_every_policy_releases_each_fact_once_and_never_later_than_its_bound(
    kind: Kind, strength: Disorder
) -> None:
    for stream in traffic(kind, strength):
        firsts: dict[str, float] = {}
        for each in stream:
            firsts.setdefault(each.fingerprint, each.at)
        for subject, release in SUBJECTS.items():
            releases = release(stream)
            assert {each.position.fingerprint: each.arrived_at for each in releases} == firsts
            assert len(releases) == len(firsts)
            assert all(0 <= each.added_s <= subject.bound_s + 1e-6 for each in releases)


@EVERY_STRENGTH
def test_the_virtual_clock_never_goes_back(strength: Disorder) -> None:
    for stream in traffic(Kind.MIXED, strength):
        for release in SUBJECTS.values():
            assert all(one.released_at <= two.released_at for one, two in pairwise(release(stream)))


@EVERY_STRENGTH
@pytest.mark.parametrize("pace", PACES, ids=lambda pace: pace.name)
@pytest.mark.parametrize("bound_s", BOUNDS_S)
def test_on_provable_traffic_the_same_events_are_late_as_under_a_fixed_wait_and_in_hindsight(
    strength: Disorder, pace: Pace, bound_s: float
) -> None:
    for stream in traffic(Kind.PROVABLE, strength, pace):
        ours, fixed, best = (
            late(SUBJECTS[Subject(policy, bound_s)](stream))
            for policy in (Policy.DEEDBOX, Policy.FIXED, Policy.HINDSIGHT)
        )
        assert ours == fixed == best


@EVERY_STRENGTH
def test_with_a_bound_that_no_delay_exceeds_deedbox_waits_as_little_as_hindsight(strength: Disorder) -> None:
    """Only provable traffic: there, what it waits for is what has happened and is on its way."""
    longest_s = 100_000.0
    for stream in traffic(Kind.PROVABLE, strength):
        ours = deedbox(stream, OrderingPolicy(hold_s=longest_s))
        assert told(ours) == told(hindsight(stream, longest_s))


@EVERY_STRENGTH
def test_deedbox_that_lets_every_event_settle_is_a_fixed_wait(strength: Disorder) -> None:
    """Up to what it flags as late, which it does not keep waiting for nothing."""
    for stream in traffic(Kind.MIXED, strength):
        ours = deedbox(stream, OrderingPolicy(hold_s=10, settle_s=10))
        if not any(each.late for each in ours):
            assert told(ours) == told(fixed_wait(stream, 10.0))
