"""Traffic of sent, first views, signatures, all_signed and downloadable, with honest snapshots."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.core.ordering import OrderingPolicy
from tests.bench.ordering.policies import fixed_wait
from tests.bench.ordering.traffic import Incoming
from tests.properties.oracle import FOUR_DAYS_S, Event
from tests.properties.player import Player, arrival
from tests.properties.traffic import HOLD_S, LAW, Delivery, batches, deliveries, seconds, stories

POLICY = OrderingPolicy(hold_s=HOLD_S)
TOLD = stories().flatmap(lambda story: st.tuples(st.just(story), deliveries(story, HOLD_S)))


def prints(story: list[Event]) -> list[str]:
    return [event.fingerprint for event in story]


@LAW
@given(TOLD, st.data())
def test_delays_within_the_hold_cost_no_order_and_no_gap(
    told: tuple[list[Event], list[Delivery]], data: st.DataObject
) -> None:
    story, sent = told
    player = Player(POLICY)
    released = player.play(data.draw(batches(sent)), prompt=data.draw(st.booleans()))
    assert released == prints(story)
    assert not any(line.late for line in player.lines)
    assert player.given_up == []


@LAW
@given(TOLD, st.data())
def test_each_fact_goes_out_once_and_every_repeat_is_counted(
    told: tuple[list[Event], list[Delivery]], data: st.DataObject
) -> None:
    story, sent = told
    player = Player(POLICY)
    released = player.play(data.draw(batches(sent)))
    assert len(set(released)) == len(released) == len(story)
    assert len(player.duplicates) == len(sent) - len(story)


@LAW
@given(TOLD, st.data())
def test_an_event_waits_exactly_for_what_came_before_it(
    told: tuple[list[Event], list[Delivery]], data: st.DataObject
) -> None:
    """It goes out at the step that brings the last of its predecessors, and not one step later."""
    story, sent = told
    player = Player(POLICY)
    parts = data.draw(batches(sent))
    player.play(parts)
    arrived_at = {
        delivery.event.fingerprint: part[-1].at for part in reversed(parts) for delivery in reversed(part)
    }
    waited_for = [max(arrived_at[each] for each in prints(story)[: n + 1]) for n in range(len(story))]
    assert [line.at for line in player.lines] == waited_for


@LAW
@given(stories())
def test_traffic_in_order_is_released_as_it_arrives(story: list[Event]) -> None:
    player = Player(POLICY)
    for event in story:
        decision = player.step([Delivery(event, float(event.time))], float(event.time))
        assert [each.arrival.fingerprint for each in decision.release] == [event.fingerprint]
        assert decision.wake_at is None


@LAW
@given(TOLD, st.data())
def test_how_arrivals_are_batched_does_not_matter(
    told: tuple[list[Event], list[Delivery]], data: st.DataObject
) -> None:
    one, other = Player(POLICY), Player(POLICY)
    assert one.play(data.draw(batches(told[1]))) == other.play(data.draw(batches(told[1])))
    assert len(one.duplicates) == len(other.duplicates)


@LAW
@given(stories(), st.data())
def test_a_backlog_in_parts_is_in_order_if_each_step_is_at_the_last_append_of_its_part(
    story: list[Event], data: st.DataObject
) -> None:
    """However long nobody drained: what is still in the inbox was appended before the hold of the rest ends."""
    sent = data.draw(deliveries(story, HOLD_S))
    player = Player(POLICY)
    for part in data.draw(batches(sent)):
        player.step(part, part[-1].at)
    a_week_later = sent[-1].at + 7 * 86_400
    player.step((), a_week_later)
    assert [line.fingerprint for line in player.lines] == prints(story)
    assert player.given_up == []


@LAW
@given(stories(), st.data())
def test_a_lost_event_costs_two_holds_at_most(story: list[Event], data: st.DataObject) -> None:
    """One event never comes. The rest still goes out in order, and what does not need it has no delay."""
    lost = data.draw(st.sampled_from(story))
    rest = [event for event in story if event is not lost]
    sent = [Delivery(event, float(event.time)) for event in rest]
    player = Player(POLICY)
    assert player.play([[delivery] for delivery in sent], prompt=True) == prints(rest)
    ends = {line.at for line in player.lines if line.at > line.since}
    assert len(ends) == len(player.given_up) <= 2
    needy = [event for event in rest if event.place > lost.place and event.time - lost.time <= FOUR_DAYS_S]
    assert {line.fingerprint for line in player.lines if line.at > line.since} <= set(prints(needy))


FAR: Final = 4 * HOLD_S
FAR_TOLD = stories().flatmap(lambda story: st.tuples(st.just(story), deliveries(story, FAR)))


def out_of_order(releases: Iterable[tuple[int, str]]) -> set[str]:
    """Name the events that went out after one with a later event_time."""
    latest, found = -1, set()
    for time, fingerprint in releases:
        if time < latest:
            found.add(fingerprint)
        latest = max(latest, time)
    return found


@settings(LAW, max_examples=300)
@given(FAR_TOLD, seconds(2 * HOLD_S))
def test_no_event_is_out_of_order_that_a_fixed_wait_of_the_same_bound_would_keep_in_order(
    told: tuple[list[Event], list[Delivery]], hold_s: float
) -> None:
    """The law holds for whatever delay: also for callbacks that come after the bound, and for lost ones."""
    _, sent = told
    player = Player(OrderingPolicy(hold_s=hold_s), restarts=True)
    player.play([[delivery] for delivery in sent], prompt=True)
    ours = out_of_order((line.position.time, line.fingerprint) for line in player.lines)
    waited = fixed_wait([Incoming(each.at, arrival(each.event)) for each in sent], hold_s)
    fixed = out_of_order((each.event_time, each.position.fingerprint) for each in waited)
    assert ours <= fixed


@LAW
@given(TOLD, seconds(10.0), st.data())
def test_settling_delays_but_never_disorders_honest_traffic(
    told: tuple[list[Event], list[Delivery]], settle_s: float, data: st.DataObject
) -> None:
    story, sent = told
    player = Player(OrderingPolicy(hold_s=HOLD_S, settle_s=settle_s))
    assert player.play(data.draw(batches(sent)), prompt=True) == prints(story)
    assert player.given_up == []


@LAW
@given(TOLD, seconds(2 * HOLD_S), st.data())
def test_what_was_given_up_and_came_late_is_missing_no_more(
    told: tuple[list[Event], list[Delivery]], hold_s: float, data: st.DataObject
) -> None:
    player = Player(OrderingPolicy(hold_s=hold_s), restarts=True)
    player.play(data.draw(batches(told[1])), prompt=True)
    assert player.state.given_up == {}


@LAW
@given(stories(), st.data())
def test_what_was_given_up_and_never_came_stays_known_as_missing(
    story: list[Event], data: st.DataObject
) -> None:
    lost = data.draw(st.sampled_from(story))
    player = Player(POLICY, restarts=True)
    player.play([[Delivery(event, float(event.time))] for event in story if event is not lost], prompt=True)
    assert player.state.given_up.keys() == {proof.name for proof in player.given_up}
    assert {name.partition("|")[0] for name in player.state.given_up} <= {lost.type}
