"""The typed views of an event: any JSON in, values of the types that they name out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.core.routing import KNOWN_TYPES, EventName
from deedbox.workers.actions.interface import Event
from deedbox.workers.actions.snapshots import (
    AccountSnapshot,
    FaxSnapshot,
    RequestSnapshot,
    Shown,
    SignerSnapshot,
    TemplateSnapshot,
    filled,
)
from tests.unit.core.test_any_snapshot import ANY, REQUEST
from tests.unit.core.wire import document, signer

LAW = settings(derandomize=True, max_examples=60, deadline=None)
SAMPLES = Path(__file__).parents[2] / "component" / "inputs" / "inputs.json"

TRANSMISSION = {"signature_request_id": "", "title": "Fax 7", "files_url": "https://x/v3/fax/files/a1"}


def event(payload: Any, key: str = "signature_request/r1", related: str | None = "s1") -> Event:
    kind, _, identifier = key.partition("/")
    return Event(
        type="signature_request_signed", time=1, received_at=1.0, source="default", ordering_key=key,
        signature_request_id=identifier if kind == "signature_request" else None, related_signature_id=related,
        test_mode=False, late=False, body_signature="valid", trust="attested", payload=payload,
    )  # fmt: skip


def fits(value: Any, annotation: Any) -> bool:
    """Return whether a value is what its field declares; a text has to be UTF-8 as well."""
    match value:
        case None:
            return type(None) in get_args(annotation)
        case str():
            return str in get_args(annotation) and value == value.encode("utf-8").decode()
        case dict():
            return get_origin(annotation) is dict
        case tuple():
            return all(
                isinstance(each, get_origin(get_args(annotation)[0]) or get_args(annotation)[0])
                for each in value
            )
        case _:
            return type(value) in get_args(annotation)


def names(model: type[Shown]) -> st.SearchStrategy[Any]:
    return ANY | st.dictionaries(st.sampled_from(sorted(model.model_fields)), ANY, max_size=8)


@LAW
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "signature_request": REQUEST | names(RequestSnapshot),
            "template": names(TemplateSnapshot),
            "account": names(AccountSnapshot),
            "transmission": names(FaxSnapshot),
        },
    )
    | st.dictionaries(st.text(max_size=5), ANY, max_size=3),
    st.sampled_from(["signature_request/r1", "fax/a1", "type/x"]),
    st.sampled_from([None, "", "s1", "s2"]),
)
def test_no_payload_makes_a_view_raise_or_hold_another_type(
    payload: Any, key: str, related: str | None
) -> None:
    seen = event(payload, key, related)
    for name, view, model in (
        ("signature_request", seen.signature_request, RequestSnapshot),
        ("template", seen.template, TemplateSnapshot),
        ("account", seen.account, AccountSnapshot),
        ("transmission", seen.fax, FaxSnapshot),
    ):
        assert (view is None) == (not isinstance(payload.get(name), dict))
        if view is not None:
            assert all(
                fits(getattr(view, each), info.annotation) for each, info in model.model_fields.items()
            )
    assert seen.signer is None or seen.signer.signature_id == related
    assert isinstance(seen.metadata, dict)
    assert (seen.last_known is None) == (seen.signature_request_id is None)


@LAW
@given(st.lists(REQUEST.filter(lambda each: isinstance(each, dict)), max_size=4))
def test_merged_snapshots_show_every_name_and_lose_no_value(requests: list[dict[str, Any]]) -> None:
    merged = filled(requests)
    assert merged.keys() == {name for request in requests for name in request}
    for name, value in merged.items():
        first = [each[name] for each in requests if each.get(name) not in (None, "", {}, [])]
        assert not first or value not in (None, "", {}, [])


def test_every_callback_that_people_have_met_has_its_views() -> None:
    samples = json.loads(SAMPLES.read_text("utf-8"))
    payloads = [sent for row in samples.values() for sent in row["send"] if isinstance(sent, dict)]
    assert payloads
    for payload in payloads:
        seen = event(payload)
        request = payload.get("signature_request")
        if isinstance(request, dict):
            told = request.get("signature_request_id")
            assert seen.signature_request is not None
            assert seen.signature_request.signature_request_id == (told if isinstance(told, str) else None)


def test_the_signer_is_the_one_that_the_event_is_about() -> None:
    seen = event(document(related="s2", request={"signatures": [signer("s1"), signer("s2", signer_name="Ben")]}),
                 related="s2")  # fmt: skip
    assert seen.signer == SignerSnapshot.model_validate(signer("s2", signer_name="Ben"))
    assert event(document(), related=None).signer is None
    assert event(document(request={"signatures": "none"}), related="s2").signer is None


def test_unknown_fields_are_attributes_and_times_of_zero_are_none() -> None:
    request = {
        "created_at": 0,
        "expires_at": "1800000000",
        "test_mode": "1",
        "of_next_year": {"a": [1]},
        "is_complete": 3,
    }
    seen = event({"signature_request": request}).signature_request
    assert seen is not None
    assert (seen.created_at, seen.expires_at, seen.test_mode, seen.is_complete) == (
        None,
        1_800_000_000,
        True,
        None,
    )
    assert seen.model_extra == {"of_next_year": {"a": [1]}}


def test_a_fax_has_its_id_although_its_callback_names_none() -> None:
    seen = event({"transmission": TRANSMISSION}, key="fax/a1").fax
    assert seen is not None
    assert (seen.fax_id, seen.title) == ("a1", "Fax 7")


def test_an_event_whose_views_are_not_asked_for_holds_none() -> None:
    seen = event(document())
    fields = set(vars(seen))
    assert seen.signature_request is seen.signature_request
    assert set(vars(seen)) - fields == {"signature_request"}


def test_a_gutted_callback_is_filled_from_better_ones() -> None:
    best = {"title": "", "created_at": 0, "metadata": {}, "is_complete": False, "signatures": []}
    before = {
        "title": "Lease",
        "created_at": 5,
        "metadata": {"order": "7"},
        "is_complete": True,
        "client_id": "c",
    }
    assert filled([best, before]) == {
        "title": "Lease", "created_at": 5, "metadata": {"order": "7"}, "is_complete": False, "signatures": [],
        "client_id": "c",
    }  # fmt: skip


@pytest.mark.parametrize("family", ["signature_request_", "fax_", "template_", "account_", "deedbox."])
def test_editors_know_the_names_of_every_family(family: str) -> None:
    assert get_args(EventName) == tuple(dict.fromkeys(get_args(EventName)))
    assert any(name.startswith(family) for name in KNOWN_TYPES)
