from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deedbox.shared.core import jsontext
from deedbox.shared.core.callback import LEVELS_MAX, parse_json

LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None))  # half characters too: JSON can spell them
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


@given(VALUES, st.booleans())
@settings(max_examples=200, deadline=None)
def test_the_fast_parser_reads_what_the_standard_one_reads(value: Any, spaced: bool) -> None:  # noqa: FBT001
    text = json.dumps({"a": value}, indent=1 if spaced else None).encode()
    assert parse_json(text) == jsontext.loads(text) == json.loads(text)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert jsontext.loads(jsontext.dumps(value)) == value
    assert json.loads(jsontext.canonical(value)) == value


@given(st.dictionaries(st.text(), VALUES))
@settings(max_examples=100, deadline=None)
def test_the_order_of_names_does_not_change_the_canonical_form(value: dict[str, Any]) -> None:
    backwards = dict(reversed(value.items()))
    assert jsontext.canonical(value) == jsontext.canonical(backwards)


@pytest.mark.parametrize("levels", [LEVELS_MAX - 1, LEVELS_MAX + 1])
def test_depth_is_no_matter_of_the_parser(levels: int) -> None:
    text = b'{"a":' + b"[" * levels + b"]" * levels + b"}"
    assert jsontext.canonical(parse_json(text)) == text
