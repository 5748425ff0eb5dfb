"""Events that no snapshot proves: a settle as long as the displacement orders them too."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deedbox.shared.core.ordering import OrderingPolicy
from tests.properties.oracle import Event, in_order
from tests.properties.player import Player
from tests.properties.traffic import LAW, any_events, batches, deliveries, seconds


@LAW
@given(any_events(), seconds(40.0), seconds(60.0), st.data())
def test_a_settle_as_long_as_the_displacement_orders_any_events(
    events: list[Event], settle_s: float, hold_s: float, data: st.DataObject
) -> None:
    sent = data.draw(deliveries(events, settle_s))
    player = Player(OrderingPolicy(hold_s=hold_s, settle_s=settle_s))
    released = player.play(data.draw(batches(sent)), prompt=data.draw(st.booleans()))
    assert released == [event.fingerprint for event in in_order(events)]
    assert not any(line.late for line in player.lines)


@LAW
@given(any_events(), seconds(40.0), st.data())
def test_an_event_settles_at_most_as_long_as_the_longest_wait(
    events: list[Event], settle_s: float, data: st.DataObject
) -> None:
    sent = data.draw(deliveries(events, settle_s))
    player = Player(OrderingPolicy(hold_s=10.0, settle_s=settle_s))
    player.play([[delivery] for delivery in sent], prompt=True)
    assert all(line.at - line.since <= max(10.0, settle_s) for line in player.lines)
