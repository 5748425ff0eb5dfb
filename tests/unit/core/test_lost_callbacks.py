"""Which events the API proves to have happened, and of which of them no callback can have come."""

from __future__ import annotations

from typing import Any

import pytest

from deedbox.shared.core.errors import SettingsError
from deedbox.shared.core.gaps import FRESH_S, Gap, Known, found, lost, proven, suspected
from deedbox.shared.core.ordering import SequenceState
from deedbox.shared.core.status import catch_up
from deedbox.shared.settings import Settings
from tests.unit.core.wire import signer

T = 1_700_000_000
DAY_S = 86_400
P = "signature_request_"
SIGNED = signer("s1", status_code="signed", last_viewed_at=T + 10, signed_at=T + 20)
COMPLETE: dict[str, Any] = {"created_at": T, "is_complete": True, "signatures": [SIGNED]}
WHOLE = [("sent", T, ""), ("viewed", T + 10, "s1"), ("signed", T + 20, "s1"), ("all_signed", T + 20, ""),
         ("downloadable", T + 20, "")]  # fmt: skip


def told(request: dict[str, Any], *, has_document: bool = True) -> list[tuple[str, int, str]]:
    return [
        (each.type.removeprefix(P), each.time, each.signature)
        for each in proven(request, has_document=has_document)
    ]


@pytest.mark.parametrize(
    ("request_shown", "events"),
    [
        (COMPLETE, WHOLE),
        ({"created_at": T, "signatures": [signer("s1")]}, [("sent", T, "")]),
        ({"created_at": T, "signatures": [signer("s1", status_code="on_hold")]}, []),
        (
            {"created_at": T, "is_declined": True, "signatures": [
                SIGNED, signer("s2", status_code="declined", last_viewed_at=T + 40)]},
            [*WHOLE[:3], ("viewed", T + 40, "s2"), ("declined", T + 40, "s2")],
        ),
        (
            {"created_at": T, "expires_at": T + 99, "signatures": [signer("s1", status_code="expired")]},
            [("sent", T, ""), ("expired", T + 99, "")],
        ),
        ({"created_at": T, "has_error": True, "signatures": [signer("s1", status_code="error_file")]}, []),
        ({"created_at": T, "is_complete": True, "signatures": [signer("s1", status_code="signed")]}, [("sent", T, "")]),
        ({"created_at": "soon", "is_complete": 3, "signatures": [7, {"signature_id": 8}, None]}, []),
        ({}, []),
    ],
)  # fmt: skip
def test_only_what_the_api_shows_with_a_time_is_proven(
    request_shown: dict[str, Any], events: list[tuple[str, int, str]]
) -> None:
    assert told(request_shown) == events


def test_downloadable_is_proven_by_a_document_that_was_fetched() -> None:
    assert told(COMPLETE, has_document=False) == WHOLE[:-1]


def names(order: SequenceState | None, now: float = T + DAY_S, remembered_s: float = 13 * DAY_S) -> list[str]:
    events = lost(Known(order=order), COMPLETE, now, remembered_s, has_document=True)
    return [each.type.removeprefix(P) for each in events]


ALL = [name for name, _, _ in WHOLE]


def test_what_came_is_not_lost_and_what_was_given_up_is() -> None:
    came = SequenceState(
        satisfied=frozenset({P + "sent|", P + "viewed|s1", P + "all_signed|"}),
        given_up={P + "viewed|s1": T + 30},
    )
    assert names(None) == ALL
    assert names(came) == ["viewed", "signed", "downloadable"]


def test_of_a_type_of_which_a_callback_named_no_signer_nothing_is_lost() -> None:
    """It may be the callback of any signer."""
    assert names(SequenceState(wildcards={P + "signed": 1})) == [each for each in ALL if each != "signed"]


def test_what_is_too_fresh_may_be_on_its_way_and_what_is_too_old_may_be_forgotten() -> None:
    assert names(None, now=T + FRESH_S) == ["sent"]
    assert names(None, now=T + 13 * DAY_S + 15) == ["signed", "all_signed", "downloadable"]


def test_a_lost_downloadable_is_suspected_only_where_it_would_be_made_up_for() -> None:
    order = SequenceState(satisfied=frozenset(f"{P}{name}|{signature}" for name, _, signature in WHOLE[:-1]))
    model = catch_up({}, COMPLETE, T + 100)

    def gaps(**more: Any) -> set[Gap]:
        known = Known(model, order, **{"has_document": True, "synthesises": True, **more})
        assert suspected(known).gaps == found(known, COMPLETE).gaps
        return set(suspected(known).gaps)

    assert gaps() == {Gap.NO_DOWNLOADABLE}
    assert gaps(synthesises=False) == set()
    assert gaps(has_document=False) == {Gap.NO_DOCUMENT}
    came = Known(model, SequenceState(satisfied=order.satisfied | {P + "downloadable|"}), True, True, True)
    assert not suspected(came)


def test_the_setting_without_the_action_that_does_it_is_refused() -> None:
    with pytest.raises(SettingsError, match="DEEDBOX_BUILTINS leaves out reconcile"):
        Settings.load({"DEEDBOX_SYNTHESISE": "on", "DEEDBOX_BUILTINS": "track_status"})
    assert Settings.load({"DEEDBOX_SYNTHESISE": " ON "}).synthesise == "on"
    assert Settings.load({}).synthesise == "off"
