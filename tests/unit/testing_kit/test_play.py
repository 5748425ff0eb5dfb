"""``play``: each fact once per action, in order, retries included; the same laws as for the whole system."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox import Context, Event, NotVerified, Reject, Retry, action
from deedbox.testing import Call, callback, lifecycle, play
from tests.unit.testing_kit import actions_module

LAW = settings(derandomize=True, max_examples=25, deadline=None)
T = 1_767_225_600
P = "signature_request_"


def nothing(_event: Event, _context: Context) -> None:
    """Do nothing, for every event."""


def types(calls: list[Call]) -> list[str]:
    return [each.event.type.removeprefix(P) for each in calls]


@LAW
@given(
    st.integers(1, 4),
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 2.0, 20.0]),
)
def test_every_fact_is_called_once_and_in_order(
    signers: int, seed: int, duplicates: float, disorder_s: float
) -> None:
    came = lifecycle(signers, seed=seed, duplicates=duplicates, disorder_s=disorder_s)
    calls = play(came, nothing)
    facts = {(each.event_type, each.event.time, each.event.related_signature_id) for each in came}
    seen = [(each.event.type, each.event.time, each.event.related_signature_id) for each in calls]
    assert Counter(seen) == Counter(facts)
    in_order = [each.event.time for each in calls if not each.event.late]
    assert in_order == sorted(in_order)
    assert [each.at for each in calls] == sorted(each.at for each in calls)


def test_an_early_event_waits_for_what_its_snapshot_proves() -> None:
    signed = callback(P + "signed", request_id="r", time=T + 60)
    sent = callback(P + "sent", request_id="r", time=T)
    calls = play([signed, sent], nothing)
    assert types(calls) == ["sent", "signed"]
    late = play([callback(P + "viewed", request_id="q", time=T)], nothing)
    assert [each.at for each in late] == [T + 30]  # nothing else came: the hold ended


def test_a_retry_holds_back_the_later_events_of_its_request_only() -> None:
    @action("*")
    def act(event: Event, context: Context) -> None:
        if event.type == P + "sent" and event.signature_request_id == "r" and not context.retries:
            raise Retry("not yet", after=100)

    came = [callback(P + kind, request_id=key, time=T + at) for at, key, kind in
            [(0, "r", "sent"), (0, "q", "sent"), (40, "r", "viewed"), (40, "q", "viewed")]]  # fmt: skip
    calls = play(came, act)
    assert [(each.event.signature_request_id, each.outcome, each.at - T) for each in calls] == [
        ("r", "retry", 0), ("q", "done", 0), ("q", "done", 40), ("r", "done", 100), ("r", "done", 100),
    ]  # fmt: skip


def test_a_dead_letter_lets_the_next_event_pass() -> None:
    @action("*", attempts=2)
    def act(event: Event, _context: Context) -> None:
        if event.type == P + "sent":
            raise KeyError
        raise Reject("no")

    calls = play(
        [callback(P + "sent", request_id="r", time=T), callback(P + "viewed", request_id="r", time=T + 9)],
        act,
    )
    assert [each.ran.dead for each in calls] == [None, "attempts_exhausted", "rejected"]
    assert str(calls[2]).endswith("attempt 1: rejected no")


def test_what_an_action_emits_reaches_the_actions_that_want_it() -> None:
    calls = play([callback(P + "signed", request_id="r")], actions_module)
    assert [(each.action, each.event.type) for each in calls] == [
        ("first", P + "signed"), ("second", "deedbox.billed"),
    ]  # fmt: skip
    assert calls[1].event.payload == {"sum": 7}


def test_the_last_known_snapshot_comes_from_the_other_callbacks() -> None:
    came = [
        callback(P + "sent", request_id="r", time=T, metadata={"order": "7"}),
        callback(P + "canceled", request_id="r", time=T + 9, metadata={}, title="", created_at=0),
    ]
    known = play(came, nothing)[1].event.last_known
    assert known is not None
    assert (known.metadata, known.title) == ({"order": "7"}, "Purchase Agreement")


def test_an_action_that_retries_for_ever_ends_as_a_dead_letter() -> None:
    def act(_event: Event, _context: Context) -> None:
        raise Retry("never", after=7200)

    calls = play([callback(P + "sent", time=T)], act)
    assert (len(calls), calls[-1].ran.dead) == (37, "retry_expired")


def test_a_callback_that_deedbox_refuses_is_not_played() -> None:
    far_ahead = callback(P + "sent", time=T).event.time + 10**6
    made = callback(P + "sent", time=far_ahead)
    object.__setattr__(made, "received_at", float(T))
    with pytest.raises(NotVerified, match="ahead"):
        play([made], nothing)
