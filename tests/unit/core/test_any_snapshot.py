"""The read model over any JSON: ``event_hash`` does not sign the body, so that a body may hold anything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.core.fields import Unreadable
from deedbox.shared.core.request_snapshot import TIME_MAX, TITLE_MAX_CHARS
from deedbox.shared.core.signature import Trust
from deedbox.shared.core.status import (
    ENDED,
    SIGNABLE,
    SIGNERS_MAX,
    STATES,
    advance,
    catch_up,
)
from deedbox.shared.records.read_model import load
from tests.unit.core.wire import document, signer

LAW = settings(derandomize=True, max_examples=150, deadline=None)
P = "signature_request_"
T = 1_700_000_000

TEXT = st.text(st.characters(exclude_categories=()), max_size=400)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
IDS = st.sampled_from(["s1", "s2", "s3", "a:b", "", "../x", "s" * 128, "s" * 129])
TIMES = st.sampled_from([0, T, T + 1, T + 2, 2**53, -1, str(T), "soon", None, 1.5, True])
ROW = ANY | st.fixed_dictionaries(
    {"signature_id": IDS | ANY, "signed_at": TIMES, "last_viewed_at": TIMES},
    optional={"status_code": st.sampled_from(["signed", "declined", "awaiting_signature"])},
)
REQUEST = ANY | st.fixed_dictionaries(
    {},
    optional={
        "title": ANY | st.sampled_from(["", "Lease", "x" * 5000, "half \ud83d"]),
        "created_at": TIMES | ANY, "expires_at": TIMES | ANY, "test_mode": ANY | st.sampled_from([1, "1", 0]),
        "is_complete": ANY, "has_error": ANY, "is_declined": ANY, "metadata": ANY,
        "signatures": ANY | st.lists(ROW, max_size=4),
    },
)  # fmt: skip
TYPES = st.sampled_from(
    [P + name for name in ("prepared", "sent", "viewed", "signed", "all_signed", "downloadable", "remind")]
    + [P + name for name in ("declined", "canceled", "expired", "invalid", "destroyed")]
    + ["file_error", "unknown_error", "sign_url_invalid", "of_next_year"]
)
EVENTS = st.lists(st.tuples(TYPES, st.sampled_from([0, T, T + 1, T + 2, 2**53]), REQUEST), max_size=6)
Told = tuple[str, int, Any]


def told(events: list[Told], trust: Trust = Trust.ATTESTED) -> list[dict[str, Any]]:
    """Return the model after each event, stored and read in between."""
    models: list[dict[str, Any]] = [{}]
    for event_type, time, request in events:
        stored = json.dumps(advance(models[-1], event_type, time, {"signature_request": request}, trust))
        found = load(stored.encode())
        assert not isinstance(found, Unreadable)
        models.append(found)
    return models


@LAW
@given(EVENTS, REQUEST)
def test_any_body_is_taken_in_within_its_bounds(events: list[Told], shown: Any) -> None:
    model = told(events)[-1]
    models = [model, catch_up(model, shown if isinstance(shown, dict) else {}, T)]
    for each in models:
        text = json.dumps(each)
        text.encode()
        assert len(each.get("title", "")) <= TITLE_MAX_CHARS
        assert all(len(name) <= 128 and name.replace("-", "_").isascii() for name in each.get("signers", {}))
        for name in ("created_at", "expires_at"):
            assert 0 < each.get(name, T) <= TIME_MAX
        assert 0 <= each.get("updated_at", 0) <= TIME_MAX


@LAW
@given(EVENTS)
def test_no_two_fields_contradict_each_other_and_no_state_goes_back(events: list[Told]) -> None:
    models = told(events)[1:]
    for each in models:
        assert each["ready_to_sign"] is (each["state"] in SIGNABLE)
        assert each["closed"] is (each["state"] in ENDED)
        assert not each["complete"]
    places = [STATES.index(each["state"]) for each in models]
    assert places == sorted(places)


@LAW
@given(EVENTS)
def test_what_is_known_is_never_replaced_by_nothing(events: list[Told]) -> None:
    for before, after in zip(told(events), told(events)[1:], strict=False):
        for name in ("title", "created_at", "expires_at", "test_mode"):
            assert name not in before or after[name] not in (None, "")
        assert set(before.get("signers", {})) <= set(after["signers"])


@LAW
@given(EVENTS.flatmap(lambda events: st.tuples(st.just(events), st.permutations(events))))
def test_the_order_in_which_bodies_are_merged_does_not_matter(orders: tuple[list[Told], list[Told]]) -> None:
    one, other = (told(order)[-1] for order in orders)
    assert one == other


def test_a_body_without_a_title_a_time_and_signers_takes_nothing_away() -> None:
    """The vendor has sent a ``canceled`` with an empty title, ``created_at`` 0 and no metadata."""
    whole = {
        "title": "Lease",
        "created_at": T,
        "test_mode": True,
        "signatures": [signer("s1", last_viewed_at=T)],
    }
    gutted = {"title": "", "created_at": 0, "metadata": {}, "test_mode": None, "signatures": []}
    model = told([(P + "sent", T, whole), (P + "canceled", T + 9, gutted)])[-1]
    known = {name: model[name] for name in ("title", "created_at", "test_mode", "signers", "state")}
    assert known == {
        "title": "Lease", "created_at": T, "test_mode": True, "signers": {"s1": "viewed"}, "state": "canceled",
    }  # fmt: skip


def test_a_signer_whom_a_newer_callback_lacks_was_removed_or_replaced() -> None:
    rows = [signer("old", last_viewed_at=T), signer("other")]
    reassigned = [signer("new"), signer("other")]
    events = [(P + "sent", T, {"signatures": rows}), (P + "reassigned", T + 5, {"signatures": reassigned})]
    place = {"old": "removed", "new": "awaiting_signature", "other": "awaiting_signature"}
    assert told(events)[-1]["signers"] == told(events[::-1])[-1]["signers"] == place


@pytest.mark.parametrize("proof", ["viewed", "signed"])
def test_a_request_that_somebody_has_seen_is_ready_to_sign_though_no_sent_came(proof: str) -> None:
    assert told([(P + proof, T, {})])[-1]["ready_to_sign"] is True
    row = signer("s1", **{{"viewed": "last_viewed_at", "signed": "signed_at"}[proof]: T})
    assert told([(P + "remind", T, {"signatures": [row]})])[-1]["ready_to_sign"] is True


@pytest.mark.parametrize("end", ["declined", "canceled", "expired", "invalid", "all_signed", "destroyed"])
def test_what_has_ended_is_not_ready_to_sign(end: str) -> None:
    for order in ([P + "sent", P + end], [P + end, P + "sent"]):
        assert told([(name, T, {}) for name in order])[-1]["ready_to_sign"] is False


def test_a_request_in_error_is_not_ready_to_sign_until_everybody_has_signed_all_the_same() -> None:
    story = ["unknown_error", P + "sent", P + "signed", P + "all_signed"]
    states = [each["state"] for each in told([(name, T, {}) for name in story])[1:]]
    assert states == ["error", "error", "error", "all_signed"]


def test_ten_thousand_signers_leave_those_of_the_newest_callbacks() -> None:
    flood = [{"signature_id": f"f{number}"} for number in range(10_000)]
    events = [(P + "viewed", T, {"signatures": flood}), (P + "signed", T + 1, {"signatures": [signer("s1")]})]
    model = told(events)[-1]
    assert len(model["signers"]) == SIGNERS_MAX
    assert model["signers"]["s1"] == "awaiting_signature"


def test_an_unreadable_model_begins_anew() -> None:
    for text in (
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"state": "sent", "levels": {"claimed": {"rows": []}}}',
    ):
        assert isinstance(load(text), Unreadable)
    assert advance(load(b"{") or {}, P + "sent", T, document())["state"] == "sent"
