"""The read model of a request: the same whatever the order of its events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.core.request_snapshot import last_change
from deedbox.shared.core.signature import Trust
from deedbox.shared.core.status import (
    COMPLETE,
    STATES,
    advance,
    awaits_confirmation,
    catch_up,
    gone,
    state_of,
    state_shown,
    was_confirmed,
)
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


def told(*events: Told, trust: Trust = Trust.ATTESTED) -> dict[str, Any]:
    """Merge events of one level in the order given."""
    model: dict[str, Any] = {}
    for event_type, time, complete, rows in events:
        body = document(event_type, str(time), request={"is_complete": complete, "signatures": rows})
        model = advance(model, event_type, time, body, trust)
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


LEVELS = st.sampled_from([Trust.DISPUTED, Trust.CLAIMED, Trust.ATTESTED])
MIXED = st.lists(st.tuples(LEVELS, TYPES, st.integers(T, T + 5), st.booleans(), ROWS), max_size=7)
READINGS = st.lists(st.tuples(st.integers(T, T + 9), REQUESTS), max_size=3)
Mixed = tuple[Trust, str, int, bool, list[dict[str, Any]]]


def merged(model: dict[str, Any], each: Any) -> dict[str, Any]:
    """Merge an event of any level, or what the API showed at a time."""
    if len(each) == len(("asked_at", "request")):
        return catch_up(model, each[1], each[0])
    trust, event_type, time, complete, rows = each
    body = document(event_type, str(time), request={"is_complete": complete, "signatures": rows})
    return advance(model, event_type, time, body, trust)


def all_merged(steps: list[Any]) -> dict[str, Any]:
    model: dict[str, Any] = {}
    for each in steps:
        model = merged(model, each)
    return model


@LAW
@given(
    st.tuples(MIXED, READINGS)
    .map(lambda pair: [*pair[0], *pair[1]])
    .flatmap(lambda steps: st.tuples(st.just(steps), st.permutations(steps)))
)
def test_the_order_of_levels_and_of_what_the_api_showed_does_not_matter(
    orders: tuple[list[Any], list[Any]],
) -> None:
    assert all_merged(orders[0]) == all_merged(orders[1])


@LAW
@given(MIXED, REQUESTS)
def test_what_the_api_shows_replaces_all_that_was_claimed_before_also_backwards(
    events: list[Mixed], request: dict[str, Any]
) -> None:
    claimed = [event for event in events if event[0] < Trust.ATTESTED]
    after = catch_up(all_merged(list(claimed)), request, T + 9)
    alone = catch_up({}, request, T + 9)
    for name in ("state", "signers", "ready_to_sign", "complete", "closed"):
        assert after[name] == alone[name]
    assert alone["trust"].items() <= after["trust"].items()


@LAW
@given(MIXED, READINGS)
def test_no_callback_alone_completes_a_request_and_no_claim_makes_an_answer(
    events: list[Mixed], readings: list[Any]
) -> None:
    claims = [event for event in events if event[0] < Trust.ATTESTED]
    rest = [*(event for event in events if event[0] >= Trust.ATTESTED), *readings]
    before, after = all_merged(rest), all_merged([*rest, *claims])
    for name in ("complete", "ready_to_sign", "closed"):
        assert after.get(name, False) == before.get(name, False)
    if not any(state_shown(request) in COMPLETE for _, request in readings):
        assert not after.get("complete", False)


@LAW
@given(MIXED, st.sampled_from([Trust.ATTESTED, Trust.CONFIRMED]))
def test_a_field_of_a_higher_level_is_never_that_of_a_lower_one(events: list[Mixed], trust: Trust) -> None:
    model = all_merged(list(events))
    genuine = {"title": "Lease", "test_mode": True, "created_at": T}
    if trust is Trust.CONFIRMED:
        model = catch_up(model, genuine, T)
    else:
        model = advance(model, P + "sent", T - 9, {"signature_request": genuine}, trust)
    forged = {"title": "FORGED", "test_mode": False, "created_at": T + 5}
    model = advance(model, P + "viewed", T + 9, {"signature_request": forged}, Trust.CLAIMED)
    assert model["title"] != "FORGED"
    assert model["trust"]["title"] in {"attested", "confirmed"}


def test_a_forged_completion_is_shown_as_a_claim_and_corrected() -> None:
    model = told((P + "sent", T, False, [signer("s1")]))
    model = advance(model, P + "all_signed", T + 5, document(request={"is_complete": True}), Trust.DISPUTED)
    assert (model["state"], model["trust"]["state"]) == ("all_signed", "disputed")
    assert not model["complete"]
    assert model["ready_to_sign"]
    assert awaits_confirmation(model)
    corrected = catch_up(model, {"is_complete": False, "signatures": [signer("s1")]}, T + 6)
    assert (corrected["state"], corrected["trust"]["state"]) == ("sent", "confirmed")
    assert not awaits_confirmation(corrected)


def test_what_the_vendor_signed_and_the_api_does_not_show_stays() -> None:
    """A cancel leaves no trace in a request that the API still shows."""
    canceled = told((P + "sent", T, False, []), (P + "canceled", T + 1, False, []))
    assert catch_up(canceled, {"is_complete": False, "signatures": [signer("s1")]}, T + 9)["closed"]


def test_what_happened_after_the_api_was_asked_is_shown_with_its_own_level() -> None:
    model = catch_up({}, {"is_complete": False, "signatures": [signer("s1")]}, T + 5)
    late = advance(model, P + "canceled", T + 4, document(request={"signatures": []}))
    assert late["state"] == "sent"
    later = advance(model, P + "canceled", T + 6, document(request={"signatures": []}))
    assert (later["state"], later["trust"]["state"], later["closed"]) == ("canceled", "claimed", False)
    assert awaits_confirmation(later)


def test_a_claimed_cancel_is_confirmed_by_an_api_that_says_deleted_and_not_by_one_that_says_unknown() -> None:
    claimed = told((P + "sent", T, False, []), (P + "canceled", T + 1, False, []), trust=Trust.CLAIMED)
    unknown = gone(claimed, T + 9, deleted=False)
    assert (unknown["closed"], was_confirmed(unknown), awaits_confirmation(unknown)) == (False, False, False)
    deleted = gone(claimed, T + 9, deleted=True)
    assert (deleted["closed"], was_confirmed(deleted)) == (True, True)


def test_a_signer_whom_the_api_shows_no_more_was_removed() -> None:
    """Another e-mail address makes another signature id: the old one is waited for by nobody."""
    model = told((P + "sent", T, False, [signer("old"), signer("other")]))
    signed = [signer("new", signed_at=T + 1), signer("other", signed_at=T + 2)]
    caught_up = catch_up(model, {"is_complete": True, "signatures": signed}, T + 3)
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
