"""The core reads snapshots that nobody signed and that any JSON may stand in: it answers, and never raises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.core.callback import ParsedCallback
from deedbox.shared.core.gaps import Findings, Known, concerns, found, suspected
from deedbox.shared.core.identity import identify
from deedbox.shared.core.ordering import (
    PROOFS_PER_KEY,
    PROOFS_PER_SNAPSHOT,
    OrderingPolicy,
    SequenceState,
    step,
)
from deedbox.shared.core.request_snapshot import TIME_MAX, last_change, signers_shown
from deedbox.shared.core.snapshot import arrival_of
from deedbox.shared.core.status import STATES, advance, catch_up, state_shown
from deedbox.shared.records import order_state

LAW = settings(derandomize=True, max_examples=120, deadline=None)
T = 1_700_000_000
P = "signature_request_"
TYPES = [
    P + name for name in ("prepared", "sent", "viewed", "signed", "all_signed", "downloadable", "remind")
]

NUMBERS = (
    st.sampled_from([0, -1, T, T - 5, 2**53 - 1, 2**53, 2**63, 10**30, -(10**30), 1.5, 1e300]) | st.integers()
)
TEXTS = st.text(st.characters(), max_size=5) | st.sampled_from(["\ud800", "\x00", "\u202e", "x" * 300, ""])
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
ROWS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("signature_id", "status_code", "signed_at", "last_viewed_at", "last_reminded_at"), JSON
    ),
)
REQUESTS: st.SearchStrategy[Any] = JSON | st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ("created_at", "title", "test_mode", "expires_at", "is_complete", "is_declined", "has_error"),
            JSON,
        ),
        "signature_request_id": TEXTS,
        "signatures": st.lists(JSON | ROWS, max_size=4),
    },
)
EVENTS = st.tuples(st.sampled_from(TYPES) | st.just("novel"), st.sampled_from([0, T, 2**53]), REQUESTS)


@LAW
@given(st.lists(st.tuples(EVENTS, st.none() | TEXTS), max_size=4))
def test_any_snapshots_are_identified_ordered_and_merged(events: list[tuple[Any, str | None]]) -> None:
    state, model, released = SequenceState(), dict[str, Any](), 0
    for number, ((event_type, at, request), related) in enumerate(events):
        payload = {"event": {}, "signature_request": request}
        identify("default", ParsedCallback(event_type, at, str(at), "h", related, payload))
        arrival = arrival_of(event_type, at, related, f"{number:032x}", payload)
        decision = step(state, [(arrival, float(T))], float(T), OrderingPolicy())
        state = decision.state
        released += len(decision.release)
        assert order_state.load(order_state.dump(state)) == state
        model = advance(model, event_type, at, payload)
        assert model["state"] in STATES
        assert 0 <= model["updated_at"] <= TIME_MAX
        json.loads(json.dumps(model))
    released += len(step(state, [], T + 10_000.0, OrderingPolicy()).release)
    assert released == len(events)


def as_object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


@LAW
@given(REQUESTS.map(as_object), REQUESTS.map(as_object))
def test_anything_that_the_api_answers_is_read(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    assert state_shown(one) in STATES
    assert 0 <= last_change(one) <= TIME_MAX
    signers_shown(one)
    model = catch_up(catch_up({}, one, 0), other, 2**60)
    assert 0 <= model["updated_at"] <= TIME_MAX
    for known in (Known(model), Known(model, SequenceState()), Known()):
        suspected(known)
        found(known, one)
        concerns(known, one, 0.0)


@LAW
@given(JSON)
def test_findings_of_any_document_are_read(document: Any) -> None:
    Findings.load(as_object(document))
    Findings.load({"gaps": document, "missed": document})


# --- bounds ---------------------------------------------------------------------------------------------


def forged(count: int, at: int = T, name: str = "f", prefix: str = "") -> Any:
    rows = [{"signature_id": f"{prefix}{i:x}", "signed_at": at - 9} for i in range(count)]
    return arrival_of(P + "viewed", at, None, name, {"signature_request": {"signatures": rows}})


def test_a_snapshot_with_more_proofs_than_any_request_has_is_not_held_and_noted_once() -> None:
    first = step(SequenceState(), [(forged(60_000), float(T))], float(T), OrderingPolicy())
    assert [len(first.release), first.crowded, first.state.held] == [1, True, ()]
    assert len(order_state.dump(first.state)) < 1_000
    again = step(first.state, [(forged(60_000, T + 1, "g"), float(T))], float(T), OrderingPolicy())
    assert [len(again.release), again.crowded] == [1, False]


def test_a_snapshot_at_the_bound_is_held() -> None:
    decision = step(SequenceState(), [(forged(PROOFS_PER_SNAPSHOT), float(T))], float(T), OrderingPolicy())
    assert [len(decision.release), decision.crowded] == [0, False]


@pytest.mark.parametrize("expire", [False, True])
def test_the_order_state_of_a_key_is_bounded_however_many_proofs_are_forged(*, expire: bool) -> None:
    state, at, notes = SequenceState(), float(T), 0
    for number in range(40):
        arrival = forged(900, T + number, f"{number:03}", prefix=f"{number}-")
        decision = step(state, [(arrival, at)], at, OrderingPolicy(hold_s=30))
        state, at, notes = decision.state, at + 60 * expire, notes + decision.crowded
    remembered = len(state.satisfied) + sum(len(each.arrival.proofs) for each in state.held)
    assert remembered < PROOFS_PER_KEY + PROOFS_PER_SNAPSHOT
    assert notes == 1


def test_a_crowded_key_still_releases_in_position_order_what_came_together() -> None:
    state = SequenceState(satisfied=frozenset(f"x|{n}" for n in range(PROOFS_PER_KEY)))
    arrivals = [(forged(3, T + at, str(at)), float(T)) for at in (5, 1, 3)]
    decision = step(state, arrivals, float(T), OrderingPolicy())
    assert [each.arrival.fingerprint for each in decision.release] == ["1", "3", "5"]
