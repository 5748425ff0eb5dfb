"""Same fact or not (docs/glossary.md: fingerprint)."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.core.callback import parse_callback
from deedbox.shared.core.errors import BadCallback
from deedbox.shared.core.identity import (
    PER_SIGNER_TYPES,
    SHARDS,
    body_digest,
    identify,
    shard_of,
)
from tests.unit.core.wire import (
    FAX,
    TEST,
    Document,
    document,
    fact,
    signer,
    with_request_id,
)

LAW = settings(derandomize=True, max_examples=80, deadline=None)

# --- golden vectors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "source", "redrive", "fingerprint"),
    [
        (document(), "default", "", "2cb5bede2391e4d74ec2f75866061b55"),
        (document(), "acme", "", "062530a6e2d8ee1a1df8a3be5af3999f"),
        (document(), "default", "1", "0c4309cfb4acfd4050d6b091d14fafdc"),
        (
            document("signature_request_signed", related=None),
            "default",
            "",
            "2ccbbfaaf725089bea72ae504b07db0d",
        ),
        (TEST, "default", "", "9d6cbfd6de892fcd56be2f77aeebff37"),
        (FAX, "default", "", "715c237b1807c1a8c88670032bb9370f"),
    ],
)
def test_fingerprints_stay_the_same_from_version_to_version(
    body: Document, source: str, redrive: str, fingerprint: str
) -> None:
    """Dedupe compares with what earlier versions stored: another algorithm would dispatch everything again."""
    assert fact(body, source, redrive).fingerprint == fingerprint


@pytest.mark.parametrize(
    ("stream", "shard"),
    [
        ("default:type/callback_test", 0),
        ("default:signature_request/fa5c8a0b0f492d768749333ad6fcc214c111e967", 7),
        ("acme:signature_request/fa5c8a0b0f492d768749333ad6fcc214c111e967", 7),
        ("default:fax/9c2c7e8c2ed1839f75a9a0227ce2954b1d7c3407", 11),
    ],
)
def test_shards_stay_the_same_from_version_to_version(stream: str, shard: int) -> None:
    """During a rolling deploy two versions drain at once: they must agree on who owns a stream."""
    assert (shard_of(stream), SHARDS) == (shard, 16)


def test_body_digests_stay_the_same_from_version_to_version() -> None:
    assert body_digest(document()) == "436fad247a41fed9906f457785cf7f9c"


# --- one fact -------------------------------------------------------------------------------------------


def other_delivery(body: Document) -> Document:
    """Return the app's delivery of what ``body`` delivers to the account."""
    app = copy.deepcopy(body)
    app["client_id"] = "0dd3b823a682527788c4e40cb7b6f7e9"
    app.pop("account_guid", None)
    if "signature_request" in app:
        app["signature_request"]["client_id"] = "0dd3b823a682527788c4e40cb7b6f7e9"
    app["event"].setdefault("event_metadata", {"related_signature_id": None})
    app["event"]["event_metadata"] |= {
        "reported_for_account_id": None,
        "reported_for_app_id": "0dd3b823a682527788c4e40cb7b6f7e9",
    }
    return app


@pytest.mark.parametrize("body", [document(), document("signature_request_signed", related=None), TEST, FAX])
def test_the_accounts_and_the_apps_delivery_are_one_fact_without_a_conflict(body: Document) -> None:
    assert fact(other_delivery(body)) == fact(body)
    assert body_digest(other_delivery(body)) == body_digest(body)


def test_metadata_that_is_missing_is_metadata_that_names_no_signer() -> None:
    bare = document("signature_request_sent", related=None)
    full = copy.deepcopy(bare)
    del bare["event"]["event_metadata"]
    assert fact(bare) == fact(full)
    assert body_digest(bare) == body_digest(full)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(value)}
    return [reordered(each) for each in value] if isinstance(value, list) else value


def escaped(text: str) -> str:
    """Write a JSON text as PHP does, slashes escaped."""
    return text.replace("/", "\\/")


@LAW
@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=3), st.booleans(), st.sampled_from([None, 0, 3]))
def test_a_retry_with_other_key_order_escapes_or_spaces_is_the_same_fact(
    more: dict[str, Any],
    ascii_only: bool,  # noqa: FBT001
    indent: int | None,
) -> None:
    body = {**document(request={"metadata": more, "title": "5/7 Ž 🖋"}), "x": more}
    first = json.dumps(body).encode()
    again = escaped(json.dumps(reordered(body), ensure_ascii=ascii_only, indent=indent))
    one, other = parse_callback(again.encode()), parse_callback(first)
    assert identify("default", one) == identify("default", other)
    assert body_digest(one.payload) == body_digest(other.payload)


def test_a_time_as_integer_or_text_is_the_same_fact() -> None:
    one, other = document(event_time=1_700_000_100), document(event_time="1700000100")
    assert fact(one) == fact(other)
    assert body_digest(one) == body_digest(other)


def test_another_body_of_the_same_fact_is_a_conflict_not_a_new_fact() -> None:
    one, other = document(), document(request={"title": "Another title"})
    assert fact(one) == fact(other)
    assert body_digest(one) != body_digest(other)


@pytest.mark.parametrize("body", [document(), TEST, FAX])
def test_the_hash_is_no_part_of_the_fact_or_of_its_body(body: Document) -> None:
    """After a change of the primary key, a retry may carry another hash."""
    rehashed = copy.deepcopy(body)
    rehashed["event"]["event_hash"] = "f" * 64
    assert fact(rehashed) == fact(body)
    assert body_digest(rehashed) == body_digest(body)


# --- facts apart ----------------------------------------------------------------------------------------


def test_two_requests_in_the_same_second_are_two_facts() -> None:
    assert fact(with_request_id("a")).fingerprint != fact(with_request_id("b")).fingerprint


def test_two_signers_in_the_same_second_are_two_facts() -> None:
    assert fact(document(related="s1")).fingerprint != fact(document(related="s2")).fingerprint


def test_two_times_and_two_types_are_two_facts() -> None:
    prints = {
        fact(document(event_type, time)).fingerprint
        for event_type in ("signature_request_viewed", "signature_request_signed")
        for time in ("1", "2")
    }
    assert len(prints) == 4


def test_two_sources_are_two_facts_and_two_streams() -> None:
    one, other = fact(document(), "acme"), fact(document(), "globex")
    assert one.fingerprint != other.fingerprint
    assert one.stream != other.stream


def test_an_operators_redrive_is_a_fact_of_its_own_in_the_same_stream() -> None:
    marks = ["", "1", "2"]
    facts = [fact(document(), redrive=mark) for mark in marks]
    assert len({each.fingerprint for each in facts}) == 3
    assert len({each.stream for each in facts}) == 1


@pytest.mark.parametrize("event_type", sorted(PER_SIGNER_TYPES))
@pytest.mark.parametrize("column", ["signature_id", "status_code", "signed_at", "last_reminded_at"])
def test_without_a_related_signature_the_snapshot_tells_signers_apart(event_type: str, column: str) -> None:
    one = document(event_type, related=None, request={"signatures": [signer("s1"), signer("s2")]})
    changed = signer("s1") | {column: 7}
    other = document(event_type, related=None, request={"signatures": [changed, signer("s2")]})
    assert fact(one).fingerprint != fact(other).fingerprint


@pytest.mark.parametrize("column", ["last_viewed_at", "signer_name", "decline_reason"])
def test_what_is_no_mark_of_a_signers_event_tells_nothing_apart(column: str) -> None:
    one = document(related=None, request={"signatures": [signer("s1")]})
    other = document(related=None, request={"signatures": [signer("s1") | {column: 7}]})
    assert fact(one).fingerprint == fact(other).fingerprint


def test_the_order_of_the_signers_does_not_matter() -> None:
    rows = [signer("s1"), signer("s2", signed_at=5)]
    one = document(related=None, request={"signatures": rows})
    other = document(related=None, request={"signatures": rows[::-1]})
    assert fact(one).fingerprint == fact(other).fingerprint


def test_with_a_related_signature_or_for_other_types_the_snapshot_is_not_part_of_the_fact() -> None:
    for event_type, related in (("signature_request_viewed", "s1"), ("signature_request_all_signed", None)):
        one = document(event_type, related=related, request={"signatures": [signer("s1")]})
        other = document(event_type, related=related, request={"signatures": [signer("s1", signed_at=5)]})
        assert fact(one).fingerprint == fact(other).fingerprint


def test_without_an_id_the_body_is_part_of_the_fact() -> None:
    assert fact(TEST).fingerprint != fact(TEST | {"x": 1}).fingerprint


@LAW
@given(st.text(min_size=1, max_size=210))
def test_a_related_signature_of_any_text_is_part_of_the_fact(related: str) -> None:
    assert fact(document(related=related)).fingerprint != fact(document(related="s1")).fingerprint


@LAW
@given(VALUES, VALUES)
def test_any_payload_has_an_identity(request: Any, signatures: Any) -> None:
    for body in (
        {"event": document(related=None)["event"], "signature_request": request, "transmission": request},
        document(related=None, request={"signatures": signatures}),
        document(related=None, request={"signatures": [{"signature_id": signatures}]}),
    ):
        assert (len(fact(body).fingerprint), len(body_digest(body))) == (32, 32)


@pytest.mark.parametrize("depth", range(900, 1000, 7))
def test_what_can_be_parsed_can_be_identified(depth: int) -> None:
    """A text nested so deeply that only the second look at it fails would wedge its shard for ever."""
    text = json.dumps(document(related=None))[:-1] + ', "x": ' + "[" * depth + "]" * depth + "}"
    with contextlib.suppress(BadCallback):
        callback = parse_callback(text.encode())
        assert identify("default", callback).fingerprint


# --- metadata that one delivery has and another has not -------------------------------------------------


def without_metadata(body: Document) -> Document:
    bare = copy.deepcopy(body)
    del bare["event"]["event_metadata"]
    return bare


@pytest.mark.parametrize("event_type", sorted(PER_SIGNER_TYPES))
def test_an_event_of_the_only_signer_is_one_fact_with_and_without_metadata(event_type: str) -> None:
    body = document(event_type, related="s1", request={"signatures": [signer("s1", signed_at=5)]})
    assert fact(without_metadata(body)) == fact(body)


@pytest.mark.parametrize(
    ("event_type", "column"),
    [
        ("signature_request_viewed", "last_viewed_at"),
        ("signature_request_signed", "signed_at"),
        ("signature_request_remind", "last_reminded_at"),
    ],
)
def test_an_event_whose_second_one_signer_shows_is_one_fact_with_and_without_metadata(
    event_type: str, column: str
) -> None:
    rows = [signer("s1", **{column: 1_700_000_100}), signer("s2", **{column: 1_700_000_090})]
    body = document(event_type, related="s1", request={"signatures": rows})
    assert fact(without_metadata(body)) == fact(body)


def test_two_signers_of_one_second_without_metadata_are_two_facts() -> None:
    at = 1_700_000_100
    first = document(
        "signature_request_signed", request={"signatures": [signer("s1", signed_at=at), signer("s2")]}
    )
    second = document(
        "signature_request_signed",
        request={"signatures": [signer("s1", signed_at=at), signer("s2", signed_at=at)]},
    )
    assert fact(without_metadata(first)).fingerprint != fact(without_metadata(second)).fingerprint
