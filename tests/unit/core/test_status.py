"""The read model of a request: the same whatever the order of its events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.core.request_snapshot import last_change
from deedbox.shared.core.status import STATES, advance, catch_up, state_of, state_shown
from tests.unit.core.wire import document, signer

LAW = settings(derandomize=True, max_examples=80, deadline=None)
P = "signature_request_"
T = 1_700_000_000

TYPES = st.sampled_from(
    [
        P + name
        for name in (
            "prepared",
            "sent",
            "viewed",
            "signed",
            "all_signed",
            "downloadable",
            "remind",
            "declined",
        )
    ]
    + [P + name for name in ("canceled", "expired", "invalid", "destroyed", "novel")]
    + ["file_error", "unknown_error", "sign_url_invalid"]
)
TIMES = st.none() | st.integers(T, T + 9)
ROWS = st.lists(
    st.builds(
        signer,
        st.sampled_from(["s1", "s2", "s3"]),
        status_code=st.sampled_from(["awaiting_signature", "signed", "declined"]),
        signed_at=TIMES,
        last_viewed_at=TIMES,
    ),
    max_size=3,
)
EVENTS = st.lists(st.tuples(TYPES, st.integers(T, T + 5), st.booleans(), ROWS), max_size=7)
Told = tuple[str, int, bool, list[dict[str, Any]]]


def told(*events: Told) -> dict[str, Any]:
    """Merge events in the order given."""
    model: dict[str, Any] = {}
    for event_type, time, complete, rows in events:
        body = document(event_type, str(time), request={"is_complete": complete, "signatures": rows})
        model = advance(model, event_type, time, body)
    return model


def state(*names: str, complete: bool = True) -> str:
    return str(told(*((P + name, T, complete, []) for name in names))["state"])


@LAW
@given(EVENTS.flatmap(lambda events: st.tuples(st.just(events), st.permutations(events))))
def test_the_order_of_merging_does_not_matter(orders: tuple[list[Told], list[Told]]) -> None:
    one, other = told(*orders[0]), told(*orders[1])
    for name in ("state", "signers", "ready_to_sign", "updated_at"):
        assert one.get(name) == other.get(name)


@LAW
@given(EVENTS)
def test_a_state_never_goes_back(events: list[Told]) -> None:
    places = [STATES.index(told(*events[:count])["state"]) for count in range(1, len(events) + 1)]
    assert places == sorted(places)


@LAW
@given(EVENTS)
def test_merging_everything_again_changes_no_state(events: list[Told]) -> None:
    once, twice = told(*events), told(*events, *events)
    for name in ("state", "signers", "ready_to_sign", "updated_at"):
        assert once.get(name) == twice.get(name)


@LAW
@given(EVENTS)
def test_the_model_survives_its_storage_and_knows_no_names_and_no_addresses(events: list[Told]) -> None:
    stored = json.dumps(told(*events))
    assert json.loads(stored) == told(*events)
    assert "Ada" not in stored
    assert "example.com" not in stored


def test_merging_leaves_the_given_model_alone() -> None:
    model = told((P + "sent", T, False, [signer("s1")]))
    before = json.dumps(model)
    advance(
        model,
        P + "signed",
        T + 1,
        document(P + "signed", request={"signatures": [signer("s1", signed_at=T)]}),
    )
    assert json.dumps(model) == before


@pytest.mark.parametrize("closed", ["declined", "canceled", "expired", "invalid", "destroyed"])
@pytest.mark.parametrize(
    "late", ["prepared", "sent", "viewed", "signed", "all_signed", "downloadable", "remind"]
)
def test_a_closed_state_absorbs_what_comes_late(closed: str, late: str) -> None:
    assert state(closed, late) == state(late, closed) == closed


@pytest.mark.parametrize("error", ["file_error", "unknown_error"])
def test_an_error_is_a_state_and_an_expired_sign_url_is_none(error: str) -> None:
    assert state_of(error, {}) == "error"
    assert state_of("sign_url_invalid", {}) == "unknown"


def test_a_request_goes_through_its_states() -> None:
    story = ("prepared", "sent", "viewed", "signed", "all_signed", "downloadable")
    seen = [state(*story[:count]) for count in range(1, len(story) + 1)]
    assert seen == ["prepared", "sent", "viewed", "partly_signed", "all_signed", "downloadable"]


def test_a_downloadable_of_an_incomplete_request_is_no_state() -> None:
    assert state("sent", "downloadable", complete=False) == "sent"


def test_an_unknown_type_moves_nothing() -> None:
    assert state("sent", "of_next_year") == "sent"


def test_a_request_is_ready_to_sign_once_it_was_sent() -> None:
    assert told((P + "prepared", T, False, []))["ready_to_sign"] is False
    assert told((P + "sent", T, False, []), (P + "viewed", T, False, []))["ready_to_sign"] is True


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (signer("s1"), "awaiting_signature"),
        (signer("s1", last_viewed_at=T), "viewed"),
        (signer("s1", last_viewed_at=T, status_code="signed"), "viewed"),
        (signer("s1", last_viewed_at=T, signed_at=T), "signed"),
        (signer("s1", last_viewed_at=T, status_code="declined"), "declined"),
    ],
)
def test_a_signer_stands_where_the_times_say(row: dict[str, Any], shown: str) -> None:
    assert told((P + "viewed", T, False, [row]))["signers"] == {"s1": shown}


@pytest.mark.parametrize(
    "payload", [{}, {"signature_request": None}, {"signature_request": {"signatures": [1, {}]}}]
)
def test_a_payload_of_another_shape_is_merged_without_signers(payload: dict[str, Any]) -> None:
    assert advance({}, P + "sent", T, payload)["signers"] == {}


def test_the_title_is_the_one_of_the_newest_event() -> None:
    model = advance({}, P + "sent", T + 5, document(request={"title": "new"}))
    assert advance(model, P + "viewed", T, document(request={"title": "old"}))["title"] == "new"
    assert advance(model, P + "viewed", T + 9, document(request={"title": "newer"}))["title"] == "newer"


REQUESTS = st.builds(
    lambda complete, declined, failed, rows: {
        "is_complete": complete, "is_declined": declined, "has_error": failed, "signatures": rows,
    },
    st.booleans(), st.booleans(), st.booleans(), ROWS,
)  # fmt: skip


@LAW
@given(EVENTS, REQUESTS)
def test_catching_up_never_takes_a_state_back(events: list[Told], request: dict[str, Any]) -> None:
    before = told(*events)
    after = catch_up(before, request)
    assert STATES.index(after["state"]) >= STATES.index(before.get("state", "unknown"))
    assert STATES.index(after["state"]) >= STATES.index(state_shown(request))
    assert after["updated_at"] >= before.get("updated_at", 0)


@LAW
@given(EVENTS, REQUESTS, EVENTS)
def test_late_callbacks_after_catching_up_change_no_state_that_the_api_showed(
    events: list[Told], request: dict[str, Any], late: list[Told]
) -> None:
    caught_up = model = catch_up(told(*events), request)
    for event_type, time, complete, rows in late:
        body = document(event_type, str(time), request={"is_complete": complete, "signatures": rows})
        model = advance(model, event_type, time, body)
    assert STATES.index(model["state"]) >= STATES.index(caught_up["state"])
    assert catch_up(caught_up, request) == caught_up


def test_a_signer_whom_the_api_shows_no_more_was_removed() -> None:
    """Another e-mail address makes another signature id: the old one is waited for by nobody."""
    model = told((P + "sent", T, False, [signer("old"), signer("other")]))
    signed = [signer("new", signed_at=T + 1), signer("other", signed_at=T + 2)]
    caught_up = catch_up(model, {"is_complete": True, "signatures": signed})
    assert caught_up["signers"] == {"old": "removed", "other": "signed", "new": "signed"}


@pytest.mark.parametrize(
    ("request_shown", "expected"),
    [
        ({"is_complete": True}, "all_signed"),
        ({"is_declined": True}, "declined"),
        ({"is_complete": True, "has_error": True}, "error"),
        ({"signatures": [signer("a"), signer("b", last_viewed_at=T)]}, "viewed"),
        ({"signatures": [signer("a", signed_at=T), signer("b", last_viewed_at=T)]}, "partly_signed"),
        ({"signatures": [signer("a")]}, "sent"),
        ({"signatures": [signer("a", status_code="on_hold")]}, "unknown"),
        ({"signatures": "none"}, "unknown"),
        ({"is_complete": "true"}, "unknown"),
    ],
)
def test_the_api_shows_a_state(request_shown: dict[str, Any], expected: str) -> None:
    assert state_shown(request_shown) == expected


def test_the_last_change_is_the_latest_time_of_anything() -> None:
    rows = [signer("a", signed_at=T + 5), signer("b", last_reminded_at=T + 7, last_viewed_at=True)]
    assert last_change({"created_at": T, "signatures": rows}) == T + 7
    assert last_change({}) == 0
