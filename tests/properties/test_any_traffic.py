"""Whatever arrives, whenever, under any policy: what never breaks."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from deedbox.shared.core.ordering import OrderingPolicy, Position, Proof, step
from tests.properties.oracle import Event
from tests.properties.player import Player, stored
from tests.properties.traffic import LAW, QUARTERS, Delivery, any_events, batches, jumbles, seconds

POLICIES = st.builds(OrderingPolicy, hold_s=seconds(40.0), settle_s=st.one_of(st.just(0.0), seconds(40.0)))
JUMBLED = any_events().flatmap(lambda events: st.tuples(st.just(events), jumbles(events)))
Jumble = tuple[list[Event], list[Delivery]]


@LAW
@given(JUMBLED, POLICIES, st.data())
def test_released_positions_never_decrease_except_late_ones(
    jumble: Jumble, policy: OrderingPolicy, data: st.DataObject
) -> None:
    player = Player(policy)
    player.play(data.draw(batches(jumble[1])), prompt=data.draw(st.booleans()))
    punctual = [line.position for line in player.lines if not line.late]
    assert punctual == sorted(punctual)


@LAW
@given(JUMBLED, POLICIES, st.data())
def test_late_is_what_arrives_behind_the_greatest_release(
    jumble: Jumble, policy: OrderingPolicy, data: st.DataObject
) -> None:
    """It goes out in the step of its arrival and moves nothing."""
    player = Player(policy)
    for part in data.draw(batches(jumble[1])):
        punctual = [line.position for line in player.lines if not line.late]
        greatest = max(punctual) if punctual else Position(-1, 0, "", "")
        new = {each.event.fingerprint: each.event.place for each in part}
        behind = {name for name, place in new.items() if name not in player.seen and place < greatest}
        decision = player.step(part, part[-1].at + data.draw(seconds(20.0)))
        assert {each.fingerprint for each in decision.late} == behind
        if behind and len(decision.release) == len(behind):
            assert decision.state.greatest == greatest


@LAW
@given(JUMBLED, POLICIES, st.data())
def test_nothing_is_lost_and_nothing_goes_out_twice(
    jumble: Jumble, policy: OrderingPolicy, data: st.DataObject
) -> None:
    events, sent = jumble
    player = Player(policy)
    released = player.play(data.draw(batches(sent)))
    assert sorted(released) == sorted(event.fingerprint for event in events)
    arrived = Counter(delivery.event.fingerprint for delivery in sent)
    assert Counter(player.duplicates) == arrived - Counter(released)


@LAW
@given(JUMBLED, POLICIES, st.data())
def test_wake_at_is_the_very_moment_at_which_waiting_alone_releases_something(
    jumble: Jumble, policy: OrderingPolicy, data: st.DataObject
) -> None:
    player = Player(policy)
    for part in data.draw(batches(jumble[1])):
        now = part[-1].at + data.draw(seconds(20.0))
        wake_at = player.step(part, now).wake_at
        assert (wake_at is None) == (not player.state.held)
        if wake_at is None:
            continue
        assert wake_at > now
        assert step(player.state, [], wake_at, policy).release
        for early in {now, (now + wake_at) / 2, wake_at - QUARTERS}:
            idle = step(player.state, [], early, policy)
            assert (idle.release, idle.state, idle.wake_at) == ((), player.state, wake_at)


@LAW
@given(JUMBLED, POLICIES)
def test_no_event_waits_longer_than_the_hold(jumble: Jumble, policy: OrderingPolicy) -> None:
    player = Player(policy)
    player.play([[delivery] for delivery in jumble[1]], prompt=True)
    longest_s = max(policy.hold_s, policy.settle_s)
    assert all(line.at - line.since <= longest_s for line in player.lines)


@LAW
@given(JUMBLED, POLICIES, st.data())
def test_a_predecessor_is_given_up_at_most_twice(
    jumble: Jumble, policy: OrderingPolicy, data: st.DataObject
) -> None:
    """Once for an event of its second, and once for the first of a later one. A newer view is another one."""
    player = Player(policy)
    player.play(data.draw(batches(jumble[1])), prompt=True)
    times = Counter(_identity(proof) for proof in player.given_up)
    assert all(count <= 2 for count in times.values())


def _identity(proof: Proof) -> Proof:
    """Only a view and a signature are known by their time: of the others there is one, whatever a snapshot says."""
    return proof if proof.signature else proof._replace(time=0)


@LAW
@given(JUMBLED, POLICIES, st.data())
def test_a_state_that_was_stored_and_read_back_decides_the_same(
    jumble: Jumble, policy: OrderingPolicy, data: st.DataObject
) -> None:
    parts = data.draw(batches(jumble[1]))
    steady, restarted = Player(policy), Player(policy, restarts=True)
    steady.play(parts, prompt=True)
    restarted.play(parts, prompt=True)
    assert (restarted.lines, restarted.given_up) == (steady.lines, steady.given_up)
    assert stored(steady.state) == restarted.state == steady.state


@LAW
@given(JUMBLED, POLICIES, st.data())
def test_batching_changes_neither_what_goes_out_nor_what_counts_as_a_repeat(
    jumble: Jumble, policy: OrderingPolicy, data: st.DataObject
) -> None:
    one, other = Player(policy), Player(policy)
    one.play(data.draw(batches(jumble[1])))
    other.play([[delivery] for delivery in jumble[1]], prompt=True)
    assert {line.fingerprint for line in one.lines} == {line.fingerprint for line in other.lines}
    assert Counter(one.duplicates) == Counter(other.duplicates)


@LAW
@given(JUMBLED, st.data())
def test_without_any_wait_everything_goes_out_at_its_arrival(jumble: Jumble, data: st.DataObject) -> None:
    player = Player(OrderingPolicy(hold_s=0.0))
    for part in data.draw(batches(jumble[1])):
        player.step(part, part[-1].at)
        assert player.state.held == ()


@LAW
@given(JUMBLED, POLICIES)
def test_delivering_everything_again_changes_nothing(jumble: Jumble, policy: OrderingPolicy) -> None:
    player = Player(policy)
    player.play([jumble[1]])
    state, wake_at = player.state, jumble[1][-1].at + 100.0
    again = player.step(jumble[1], wake_at)
    assert (again.state, again.release, len(again.duplicates)) == (state, (), len(jumble[1]))
