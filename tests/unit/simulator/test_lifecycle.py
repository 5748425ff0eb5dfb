"""What the generated signature requests tell: honestly, in position order, and the same for the same seed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from deedbox.shared.core.callback import parse_callback
from deedbox.shared.core.identity import identify
from deedbox.shared.core.ordering import OrderingPolicy, SequenceState, step
from deedbox.shared.core.snapshot import arrival_of
from deedbox.shared.simulator.lifecycle import Account, SimulatedCallback, SimulatedRequest
from deedbox.shared.simulator.story import Ending
from tests.unit.simulator.conftest import BEGINS_AT, Make

POLICIES: list[dict[str, float]] = [{}, {"life_s": 0}, {"life_s": 2}, {"life_s": 3_600, "signers_max": 2}]


@pytest.fixture(params=POLICIES, ids=str)
def requests(request: pytest.FixtureRequest, make: Make) -> list[SimulatedRequest]:
    return make(150, seed=3, **request.param)


def _types(request: SimulatedRequest) -> list[str]:
    return [callback.event_type.removeprefix("signature_request_") for callback in request.callbacks]


def _texts(requests: list[SimulatedRequest]) -> list[bytes]:
    return [callback.json_text for request in requests for callback in request.callbacks]


def _expected_rows(request: SimulatedRequest, upto: int) -> list[dict[str, Any]]:
    """Recompute, from the events alone, what each signer's row must show after ``upto`` events."""
    rows: dict[str, dict[str, Any]] = {
        row["signature_id"]: {"status_code": "awaiting_signature", "signed_at": None, "last_viewed_at": None}
        for row in request.callbacks[0].snapshot["signatures"]
    }
    for callback in request.callbacks[:upto]:
        row = rows.get(callback.related_signature_id or "", {})
        match callback.event_type.removeprefix("signature_request_"):
            case "viewed":
                row["last_viewed_at"] = callback.event_time
            case "signed":
                row |= {"signed_at": callback.event_time, "status_code": "signed"}
            case "declined":
                row["status_code"] = "declined"
    return list(rows.values())


def test_the_same_seed_gives_the_same_bytes(make: Make) -> None:
    assert _texts(make(30, seed=7)) == _texts(make(30, seed=7))
    assert _texts(make(30, seed=7)) != _texts(make(30, seed=8))


def test_a_snapshot_shows_exactly_what_has_happened(requests: list[SimulatedRequest]) -> None:
    for request in requests:
        for number, callback in enumerate(request.callbacks, start=1):
            happened = _types(request)[:number]
            shown = [
                {name: row[name] for name in ("status_code", "signed_at", "last_viewed_at")}
                for row in callback.snapshot["signatures"]
            ]
            assert shown == _expected_rows(request, number)
            assert callback.snapshot["is_complete"] is ("all_signed" in happened)
            assert callback.snapshot["is_declined"] is ("declined" in happened)


def test_callbacks_come_in_position_order_and_no_fact_twice(requests: list[SimulatedRequest]) -> None:
    for request in requests:
        arrivals = [_arrival(callback) for callback in request.callbacks]
        assert arrivals == sorted(arrivals, key=lambda arrival: arrival.position)
        assert len({callback.fact for callback in request.callbacks}) == len(request.callbacks)
        assert len({arrival.fingerprint for arrival in arrivals}) == len(arrivals)


def _arrival(callback: SimulatedCallback) -> Any:
    parsed = parse_callback(callback.json_text)
    fact = identify("default", parsed)
    return arrival_of(
        parsed.event_type, parsed.event_time, parsed.related_signature_id, fact.fingerprint, parsed.payload
    )


def test_the_ordering_rule_never_waits_for_honest_callbacks_in_order(
    requests: list[SimulatedRequest],
) -> None:
    """The simulator and the rule read snapshots alike: nothing is proved that did not come before."""
    for request in requests[:60]:
        state = SequenceState()
        for callback in request.callbacks:
            decision = step(state, [(_arrival(callback), 0.0)], 0.0, OrderingPolicy())
            assert [released.late for released in decision.release] == [False]
            state = decision.state


def test_every_request_begins_with_sent_and_ends_as_it_says(requests: list[SimulatedRequest]) -> None:
    last = {
        Ending.COMPLETED: {"all_signed": 1, "declined": 0, "canceled": 0},
        Ending.DECLINED: {"all_signed": 0, "declined": 1, "canceled": 0},
        Ending.CANCELED: {"all_signed": 0, "declined": 0, "canceled": 1},
    }
    for request in requests:
        types = Counter(_types(request))
        assert _types(request)[0] == "sent"
        assert {name: types[name] for name in ("all_signed", "declined", "canceled")} == last[request.ending]
        if request.ending is Ending.COMPLETED:
            signers = len(request.callbacks[0].snapshot["signatures"])
            assert types["signed"] == signers
            assert "downloadable" in _types(request)[_types(request).index("all_signed") :]


def test_a_downloadable_is_final_or_shows_an_incomplete_request(requests: list[SimulatedRequest]) -> None:
    for request in requests:
        complete = [
            c.snapshot["is_complete"] for c in request.callbacks if c.event_type.endswith("downloadable")
        ]
        assert complete.count(True) == (request.ending is Ending.COMPLETED)


def test_a_crowd_has_every_kind_of_request(make: Make) -> None:
    requests = make(300, seed=5)
    callbacks = [callback for request in requests for callback in request.callbacks]
    types = {callback.event_type.removeprefix("signature_request_") for callback in callbacks}
    assert types == {
        "sent", "viewed", "signed", "remind", "declined", "canceled", "all_signed", "downloadable",
    }  # fmt: skip
    assert {request.ending for request in requests} == set(Ending)
    assert {len(request.callbacks[0].snapshot["signatures"]) for request in requests} == {1, 2, 3, 4}
    assert {request.test_mode for request in requests} == {True, False}
    assert any(c.event_type.endswith("downloadable") and not c.snapshot["is_complete"] for c in callbacks)


def test_some_events_of_a_request_share_a_second(make: Make) -> None:
    ties = [
        request
        for request in make(50)
        if len({callback.event_time for callback in request.callbacks}) < len(request.callbacks)
    ]
    assert ties


def test_event_times_stay_inside_the_promised_span(make: Make) -> None:
    times = [
        callback.event_time for request in make(200, spread_s=20, life_s=5) for callback in request.callbacks
    ]
    assert min(times) >= BEGINS_AT
    assert max(times) <= BEGINS_AT + 20 + 5 + 1


def test_the_apps_delivery_is_the_same_fact(make: Make, account: Account) -> None:
    for callback in make(5)[0].callbacks:
        reported = callback.for_app(account.client_id)
        ours, theirs = (
            identify("default", parse_callback(text)) for text in (callback.json_text, reported.json_text)
        )
        assert reported.json_text != callback.json_text
        assert ours == theirs
