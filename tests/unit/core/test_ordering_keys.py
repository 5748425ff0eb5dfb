"""The stream of an event: its ordering key, from ids of any text, and what of them may name a file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.core.identity import (
    SHARDS,
    is_file_safe,
    ordering_key,
    shard_of,
)
from tests.unit.core.wire import (
    FAX,
    REQUEST_ID,
    TEST,
    Document,
    document,
    fact,
    parsed,
    with_request_id,
)

LAW = settings(derandomize=True, max_examples=80, deadline=None)


# --- ordering keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ({"signature_request": {"signature_request_id": "a1"}}, "signature_request/a1"),
        ({"template": {"template_id": "a1"}}, "template/a1"),
        ({"account": {"account_id": "a1"}}, "account/a1"),
        ({"transmission": FAX["transmission"]}, "fax/9c2c7e8c2ed1839f75a9a0227ce2954b1d7c3407"),
        ({"transmission": {"files_url": "https://x/v3/fax/files/a1?file_type=pdf"}}, "fax/a1"),
        ({"transmission": {"files_url": "https://x/v3/fax/files/a1/"}}, "fax/a1"),
        ({"signature_request": {"signature_request_id": ""}, "template": {"template_id": "t"}}, "template/t"),
    ],
)
def test_the_ordering_key_carries_its_kind(parts: Document, key: str) -> None:
    found = ordering_key(parsed({"event": TEST["event"], **parts}))
    assert (str(found), found.ordered) == (key, True)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"signature_request": None},
        {"signature_request": "a1"},
        {"signature_request": {"signature_request_id": ""}},
        {"signature_request": {"signature_request_id": None}},
        {"signature_request": {"signature_request_id": 7}},
        {"signature_request": {"signature_request_id": ["a1"]}},
        {"signature_request": {"signature_request_id": {"x": "y"}}},
        {"template": {"template_id": ""}, "account": {"account_id": None}},
        {"transmission": {"signature_request_id": "", "files_url": "https://x/v3/fax/files/"}},
        {"transmission": {"files_url": None, "final_copy_uri": 5}},
        {"transmission": {"signature_request_id": "a1"}},
    ],
)
def test_without_an_id_the_stream_is_the_types_and_has_no_order(parts: Document) -> None:
    found = ordering_key(parsed({"event": TEST["event"], **parts}))
    assert (str(found), found.ordered) == ("type/callback_test", False)


def test_the_same_id_of_two_kinds_is_two_streams() -> None:
    bodies = [{"event": TEST["event"], kind: {f"{kind}_id": "a1"}} for kind in ("template", "account")]
    assert len({fact(body).stream for body in bodies}) == 2


# --- hostile ids ----------------------------------------------------------------------------------------

HOSTILE = [
    "../../etc/passwd",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "a:b",
    "a b",
    "%2F",
    "%",
    "*",
    "{x}",
    "é",
    "\ud800",
    "x" * 10_000,
    ".",
]


@pytest.mark.parametrize("identifier", HOSTILE)
def test_a_hostile_id_becomes_a_safe_part_of_a_key(identifier: str) -> None:
    found = ordering_key(parsed(with_request_id(identifier)))
    assert found.id
    assert len(found.id) <= 200
    assert found.id.isascii()
    assert found.id.isprintable()
    assert not set(found.id) & set("/\\:*{}? ")
    assert shard_of(fact(with_request_id(identifier)).stream) in range(SHARDS)


def test_a_usual_id_is_its_own_part_of_the_key() -> None:
    assert fact(document()).stream == f"default:signature_request/{REQUEST_ID}"


IDS = st.text(st.characters(), min_size=1, max_size=8) | st.text("/%:~.x", min_size=190, max_size=210)


@LAW
@given(st.lists(IDS, min_size=2, max_size=4, unique=True))
def test_two_ids_are_two_streams_and_two_facts(identifiers: list[str]) -> None:
    bodies = [json.loads(json.dumps(with_request_id(identifier))) for identifier in identifiers]
    read = {body["signature_request"]["signature_request_id"] for body in bodies}
    assert len({fact(body).stream for body in bodies}) == len(read)
    assert len({fact(body).fingerprint for body in bodies}) == len(read)


def test_an_id_cannot_pass_for_the_short_form_of_a_long_one() -> None:
    long = ordering_key(parsed(with_request_id("x" * 1000)))
    assert ordering_key(parsed(with_request_id(long.id))) != long


# --- file names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("identifier", [REQUEST_ID, "a-b_C", "x" * 128])
def test_letters_digits_dashes_and_underscores_may_become_a_file_name(identifier: str) -> None:
    assert is_file_safe(identifier)


@pytest.mark.parametrize(
    "identifier", ["", ".", "..", "a.b", "a/b", "a\\b", "a\n", "a%2Fb", "é", "\u0661", "x" * 129, "~a"]
)
def test_nothing_else_may_become_a_file_name(identifier: str) -> None:
    assert not is_file_safe(identifier)
