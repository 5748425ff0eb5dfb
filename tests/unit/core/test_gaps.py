"""Which gaps a request shows: from what is known here alone, and compared with the API."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.core.gaps import Findings, Gap, Known, concerns, found, suspected
from deedbox.shared.core.ordering import SequenceState
from deedbox.shared.core.status import STATES, catch_up
from tests.unit.core.wire import signer

LAW = settings(derandomize=True, max_examples=150, deadline=None)
T = 1_700_000_000
P = "signature_request_"

PLACES = st.sampled_from(["awaiting_signature", "viewed", "signed", "declined", "removed"])
NAMES = st.sampled_from(["s1", "s2", "s3"])
PROOFS = st.builds("{}|{}".format, st.sampled_from([P + "viewed", P + "signed"]), NAMES)
PROVED = st.frozensets(PROOFS | st.sampled_from([P + "sent|", P + "all_signed|"]))
ORDERS = st.builds(
    lambda came, lost, anonymous: SequenceState(
        satisfied=came | lost, given_up=dict.fromkeys(lost - came, T), wildcards={P + "signed": anonymous}
    ),
    PROVED, PROVED, st.integers(0, 2),
)  # fmt: skip
MODELS: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.builds(
    lambda state, signers: {"state": state, "signers": signers},
    st.sampled_from(STATES), st.dictionaries(NAMES, PLACES),
)  # fmt: skip
KNOWN = st.builds(Known, MODELS, st.none() | ORDERS, st.booleans(), st.booleans(), st.booleans())
TIMES = st.none() | st.integers(T, T + 9)
ROWS = st.lists(
    st.builds(signer, NAMES, signed_at=TIMES, last_viewed_at=TIMES), max_size=3, unique_by=lambda row: row["signature_id"]
)  # fmt: skip
SHOWN = st.builds(
    lambda complete, rows: {"is_complete": complete, "created_at": T, "signatures": rows}, st.booleans(), ROWS
)


def order(came: tuple[str, ...] = (), lost: tuple[str, ...] = (), anonymous: int = 0) -> SequenceState:
    wildcards = {P + "signed": anonymous} if anonymous else {}
    return SequenceState(
        satisfied=frozenset(P + name for name in came + lost),
        given_up={P + name: T for name in lost},
        wildcards=wildcards,
    )


def model(state: str, **signers: str) -> dict[str, Any]:
    return {"state": state, "signers": signers}


WHOLE = order(("sent|", "viewed|s1", "signed|s1", "all_signed|"))


@LAW
@given(KNOWN, SHOWN)
def test_what_the_api_showed_is_no_gap_any_more_once_it_was_taken_over(
    known: Known, request: dict[str, Any]
) -> None:
    """The repair: the read model caught up, what was missed was told, the document is there."""
    findings = found(known, request)
    repaired = catch_up(known.model, request, T) | {"reconciled": {"told": list(findings.missed)}}
    after = Known(repaired, known.order, has_document=True, fetches=known.fetches)
    assert found(after, request) == Findings()


@LAW
@given(KNOWN, SHOWN)
def test_findings_survive_being_stored(known: Known, request: dict[str, Any]) -> None:
    for findings in (suspected(known), found(known, request)):
        assert Findings.load(findings.dump()) == findings
        assert bool(findings) == bool(findings.gaps)
        assert not findings.missed or findings.gaps


@LAW
@given(KNOWN, KNOWN)
def test_joined_findings_hold_both(one: Known, other: Known) -> None:
    first, second = suspected(one), suspected(other)
    assert set((first | second).gaps) == {*first.gaps, *second.gaps}
    assert first | second == second | first


@LAW
@given(KNOWN)
def test_a_stored_document_is_never_missing_and_none_is_where_none_are_stored(known: Known) -> None:
    if known.has_document or not known.fetches:
        assert Gap.NO_DOCUMENT not in suspected(known).gaps


def test_a_request_whose_every_callback_came_shows_no_gap() -> None:
    known = Known(model("all_signed", s1="signed"), WHOLE, has_document=True)
    assert suspected(known) == Findings()
    shown = {"is_complete": True, "signatures": [signer("s1", signed_at=T, last_viewed_at=T)]}
    assert found(known, shown) == Findings()


@pytest.mark.parametrize(
    ("known", "gaps"),
    [
        (Known(model("all_signed", s1="signed"), WHOLE), [Gap.NO_DOCUMENT]),
        (Known(model("downloadable", s1="signed"), WHOLE), [Gap.NO_DOCUMENT]),
        (Known({}, WHOLE), [Gap.NO_DOCUMENT]),
        (Known(model("all_signed", s1="viewed"), None, has_document=True), [Gap.FEWER_SIGNED]),
        (Known(model("partly_signed", s1="signed"), order(("sent|",))), [Gap.FEWER_SIGNED]),
        (Known(model("viewed"), order(("viewed|s1",), ("sent|",))), [Gap.PREDECESSOR_GIVEN_UP]),
        (Known(model("destroyed", s1="signed"), WHOLE), []),
        (Known(model("canceled"), order(("sent|",))), []),
        (Known(), []),
    ],
)
def test_what_is_suspected_from_here(known: Known, gaps: list[Gap]) -> None:
    assert list(suspected(known).gaps) == gaps


def test_signed_callbacks_of_unknown_signers_count() -> None:
    """Two signers signed, two callbacks came, and neither said whose it was."""
    signers = {"s1": "signed", "s2": "signed"}
    for anonymous, missing in ((2, False), (1, True)):
        known = Known(model("all_signed", **signers), order(anonymous=anonymous), has_document=True)
        assert bool(suspected(known)) is missing


def test_a_request_that_nobody_heard_of_was_never_seen() -> None:
    shown = {"is_complete": True, "created_at": T, "signatures": [signer("s1", signed_at=T + 50)]}
    assert found(Known(), shown).gaps == (Gap.NEVER_SEEN, Gap.NO_DOCUMENT)


@pytest.mark.parametrize(
    ("here", "shown", "behind"),
    [
        (model("sent", s1="awaiting_signature"), {"signatures": [signer("s1", last_viewed_at=T)]}, True),
        (model("viewed", s1="viewed"), {"signatures": [signer("s1", last_viewed_at=T)]}, False),
        (model("partly_signed", s1="signed"), {"signatures": [signer("s1", signed_at=T), signer("s2", last_viewed_at=T)]}, True),
        (model("partly_signed", s1="signed"), {"is_declined": True, "signatures": []}, True),
        (model("canceled", s1="viewed"), {"signatures": [signer("s1", last_viewed_at=T)]}, False),
        (model("downloadable", s1="signed"), {"is_complete": True, "signatures": [signer("s1", signed_at=T)]}, False),
    ],
)  # fmt: skip
def test_the_api_may_be_further(here: dict[str, Any], shown: dict[str, Any], behind: bool) -> None:  # noqa: FBT001
    assert (Gap.BEHIND in found(Known(here), shown).gaps) is behind


def test_a_request_that_is_not_known_concerns_an_outage_only_if_it_changed_since() -> None:
    shown = {"is_complete": True, "created_at": T, "signatures": [signer("s1", signed_at=T + 50)]}
    assert concerns(Known(), shown, T + 50)
    assert not concerns(Known(), shown, T + 51)
    assert concerns(Known(model("sent")), shown, T + 51)
