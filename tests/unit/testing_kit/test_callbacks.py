"""What the kit sends is what Dropbox Sign sends: the receiver takes it, and nothing else of it."""

from __future__ import annotations

import dataclasses

import pytest

from deedbox import NotVerified, verify
from deedbox.shared.core.routing import INTERNAL_PREFIX, KNOWN_TYPES
from deedbox.testing import callback, internal_event, lifecycle

SENT = sorted(each for each in KNOWN_TYPES if not each.startswith(INTERNAL_PREFIX))


@pytest.mark.parametrize("event_type", [*SENT, "signature_request_of_next_year"])
def test_a_callback_of_every_type_is_verified_and_about_its_subject(event_type: str) -> None:
    made = callback(event_type, request_id="r1", signers=2, api_key="k", time=1_767_225_600)
    found = verify(made.body, made.headers, ["other", "k"])
    assert (found.event_type, found.event_time, found.trust) == (event_type, 1_767_225_600, "attested")
    event = made.event
    assert (event.type, event.time, event.body_signature) == (event_type, 1_767_225_600, "valid")
    assert event.ordering_key.endswith("/r1") == (event_type != "callback_test")
    assert (event.signer is None) == (event.related_signature_id is None)


def test_wishes_are_seen_in_the_snapshot() -> None:
    event = callback("signature_request_signed", signers=3, metadata={"order": "7"}, title="Lease").event
    request = event.signature_request
    assert request is not None
    assert (request.title, len(request.signatures), event.metadata) == ("Lease", 3, {"order": "7"})
    assert event.signer == request.signatures[0]
    assert request.signatures[0].signed_at == event.time
    assert request.signatures[1].signed_at is None


def test_callbacks_without_an_id_are_of_different_requests() -> None:
    first, second = callback("signature_request_sent"), callback("signature_request_sent")
    assert first.event.ordering_key != second.event.ordering_key


def test_a_callback_that_deedbox_would_refuse_makes_no_event() -> None:
    made = callback("signature_request_sent", api_key="k")
    with pytest.raises(NotVerified) as refused:
        _ = dataclasses.replace(made, api_key="another").event
    assert refused.value.reason == "bad_event_hash"


def test_events_of_deedbox_itself_are_made_and_not_sent() -> None:
    event = internal_event("deedbox.document_stored", {"url": "file:///x.pdf"}, request_id="r9")
    assert (event.signature_request_id, event.trust) == ("r9", "confirmed")
    with pytest.raises(ValueError, match="internal_event"):
        callback("deedbox.document_stored")


@pytest.mark.parametrize("signers", [1, 2, 5])
def test_a_lifecycle_is_whole_and_the_same_for_a_seed(signers: int) -> None:
    came = lifecycle(signers, seed=3)
    assert [each.body for each in came] == [each.body for each in lifecycle(signers, seed=3)]
    assert [each.body for each in came] != [each.body for each in lifecycle(signers, seed=4)]
    types = [each.event_type.removeprefix("signature_request_") for each in came]
    assert {"sent", "viewed", "signed", "all_signed", "downloadable"} <= set(types)
    signed = {each.event.related_signature_id for each in came if each.event_type.endswith("_signed")}
    assert len(signed - {None}) == signers


def test_a_lifecycle_without_duplicates_and_disorder_comes_once_and_in_order() -> None:
    came = lifecycle(3, duplicates=0, disorder_s=0)
    times = [each.event.time for each in came]
    assert times == sorted(times)
    assert len({each.body for each in came}) == len(came)
    assert len(lifecycle(3, duplicates=1)) == 2 * len(came)
