"""``where``: an event is passed on if every condition holds, whatever its JSON is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deedbox.shared.core.routing import CONDITIONS, Where

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["metadata", "env", "client_id"]), inner)
    ),
    max_leaves=8,
)


def accepts(where: dict[str, Any], payload: dict[str, Any], **known: Any) -> bool:
    return Where.of(where).accepts("acme", test_mode=False, payload=payload, known=lambda: known)


@pytest.mark.parametrize(
    ("where", "payload"),
    [
        ({}, {}),
        ({"source": "acme"}, {}),
        ({"test_mode": False}, {}),
        ({"client_id": "c1"}, {"client_id": "c1"}),
        ({"client_id": ["c0", "c1"]}, {"signature_request": {"client_id": "c1"}}),
        ({"client_id": "c1"}, {"event": {"event_metadata": {"reported_for_app_id": "c1"}}}),
        ({"template": "t1"}, {"signature_request": {"template_ids": ["t0", "t1"]}}),
        ({"template": "t1"}, {"template": {"template_id": "t1"}}),
        ({"metadata.env": "prod"}, {"signature_request": {"metadata": {"env": "prod"}}}),
        ({"metadata.env": "prod"}, {"template": {"metadata": {"env": "prod"}}}),
        ({"metadata.live": True}, {"signature_request": {"metadata": {"live": "true"}}}),
        ({"metadata.order": 17}, {"signature_request": {"metadata": {"order": 17}}}),
        ({"metadata.a.b": "x"}, {"signature_request": {"metadata": {"a.b": "x"}}}),
    ],
)
def test_a_value_is_found_where_the_vendor_writes_it(where: dict[str, Any], payload: dict[str, Any]) -> None:
    assert accepts(where, payload)
    shown_by_it = {name: value for name, value in where.items() if name not in {"source", "test_mode"}}
    assert accepts(shown_by_it, {}) is (shown_by_it == {})


def test_every_condition_must_hold() -> None:
    payload = {"client_id": "c1", "signature_request": {"metadata": {"env": "prod"}}}
    assert accepts({"client_id": "c1", "metadata.env": "prod"}, payload)
    assert not accepts({"client_id": "c1", "metadata.env": "dev"}, payload)
    assert not accepts({"client_id": "c1", "metadata.env": "prod", "source": "other"}, payload)


def test_what_the_callback_shows_counts_before_what_was_known() -> None:
    payload = {"signature_request": {"metadata": {"env": "prod"}}}
    assert not accepts({"metadata.env": "dev"}, payload, metadata={"env": "dev"})
    assert accepts({"metadata.env": "dev"}, {"signature_request": {"metadata": {}}}, metadata={"env": "dev"})


@given(JSON, JSON, st.sampled_from([each.replace("<key>", "env") for each in CONDITIONS]))
def test_no_json_breaks_a_condition(subject: Any, known: Any, name: str) -> None:
    accepted: Any = True if name == "test_mode" else "x"
    where = Where.of({name: accepted})
    for payload in (
        {"signature_request": subject},
        {"template": subject, "event": subject},
        {"client_id": subject},
    ):
        fallback = known if isinstance(known, dict) else {}
        assert where.accepts("a", test_mode=False, payload=payload, known=lambda: fallback) in {True, False}  # noqa: B023 - called at once
